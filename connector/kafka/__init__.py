"""Kafka as we use it: topics as declared, events as written and read, offsets as completed."""
