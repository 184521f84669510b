"""ingest: a delivery event becomes a plan of chunks, and the ledger knows where every record is."""
