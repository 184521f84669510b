"""Files of records: where a record ends, and which ranges of a file are chunks."""
