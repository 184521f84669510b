"""One rule per kind of value: text in; out comes the normalised text, "" when there is none, or why it is unusable."""
