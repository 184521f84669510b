"""What the processes share. Each folder is a thing; none is a drawer."""
