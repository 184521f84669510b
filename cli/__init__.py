"""`fbc`: the hands of whoever runs the connector."""
