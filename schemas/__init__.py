"""The contract on the wire: event models, their JSON Schema files per version, samples and the AsyncAPI document.

The pydantic models in `schemas.events` are the source. `fbc schemas export` writes everything else, and
`fbc schemas check` (run in CI) fails when a committed file differs from what the models say.
"""
