"""How a process lives: settings, signals, supervision, ordered shutdown, health, the identity it shows to others."""
