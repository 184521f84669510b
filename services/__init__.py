"""One folder, one process; nothing else lives here."""
