"""uploader: a chunk event in, a call to Meta out, and an outcome for every record. Read `deliver.py` first."""
