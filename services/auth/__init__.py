"""auth: connects customers' Facebook accounts, and is the only process that can decrypt a token."""
