"""The borrowed parts on one machine (Kafka, PostgreSQL, S3/KMS/SSM) and the supervisor behind `fbc dev`.

Reading order: `process.py` (one child process), `part.py` (what a part promises), `kafka.py`, `postgres.py`,
`objects.py` (the borrowed parts, each also an async context manager for tests), `plan.py` (all parts of a stack),
`supervisor.py` (keeps them alive), `launch.py` (what `fbc dev up` and `down` do).

POSIX only: process groups, `flock` and signals are used as they are.
"""
