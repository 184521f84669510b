"""Records for tests: everybody lives at example.com, and the address tells which audience the record belongs to."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path


def digest(address: str) -> str:
    """The SHA-256 of an address, as the dataset layout carries it."""
    return hashlib.sha256(address.encode()).hexdigest()


def address(audience: str, number: int) -> str:
    """The watermark: whoever finds this person elsewhere knows where they do not belong."""
    return f"{audience}-{number}@example.com"


def line(audience: str, number: int) -> str:
    """One record of the dataset layout."""
    return json.dumps({"unique_id": {"type": "sha256_email", "value": digest(address(audience, number))}})


def write(path: Path, lines: Iterable[str]) -> Path:
    """An NDJSON file of *lines*."""
    with path.open("w") as file:
        file.writelines(f"{one}\n" for one in lines)
    return path


def people(path: Path, audience: str, numbers: Iterable[int]) -> Path:
    """An NDJSON file of the people *numbers* of *audience*."""
    return write(path, (line(audience, number) for number in numbers))


def emails(audience: str, numbers: Iterable[int]) -> dict[str, object]:
    """Schema and data of these people, as the emulator's `contains` takes them."""
    return {"schema": ["EMAIL"], "data": [[digest(address(audience, number))] for number in numbers]}
