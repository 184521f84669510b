"""From models to files: what the JSON Schema of each event is, and where the released ones lie.

Released files are immutable: `released.json` records the digest of each, and a test compares. A change of a model means
a new version in `schemas.registry`, a new file and a new sample; the old ones stay and must go on parsing.
"""

import hashlib
from importlib.resources import files
from typing import Any

import orjson

from schemas.registry import EventType
from schemas.samples import SAMPLES

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def pretty(document: object) -> bytes:
    """JSON as committed: two spaces, sorted keys, one final newline."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def json_schema(kind: EventType) -> dict[str, Any]:
    """The JSON Schema of what is accepted as *kind*."""
    schema = kind.model.model_json_schema(mode="validation")
    return {"$schema": DIALECT, "$id": kind.dataschema, **schema}


def expected_files() -> dict[str, bytes]:
    """Path within this package → content, for the current version of every event."""
    generated: dict[str, bytes] = {}
    for kind, sample in SAMPLES.items():
        generated[f"{kind.name}/v{kind.version}.json"] = pretty(json_schema(kind))
        generated[f"{kind.name}/samples/v{kind.version}.json"] = pretty(
            sample.model_dump(mode="json", exclude_none=True)
        )
    return generated


def digest(content: bytes) -> str:
    """SHA-256 of a released file."""
    return hashlib.sha256(content).hexdigest()


def released() -> dict[str, str]:
    """Path → digest of every file that was ever released."""
    recorded: dict[str, str] = orjson.loads((files("schemas") / "released.json").read_bytes())
    return recorded
