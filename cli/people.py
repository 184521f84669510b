"""Invented people for demonstrations: seeded, so that the same file comes out each time. All live at example.com."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import orjson

GIVEN = ("Ada", "José", "Mei", "Olu", "Zoë", "Jean-Luc", "Siobhán", "Anna Maria", "Björn", "Nour")
FAMILY = ("Lovelace", "O'Brien", "García", "Okafor", "Müller", "van der Berg", "Nguyễn", "Smith", "Kowalski", "Rossi")
COUNTRIES = ("US", "de", "GB", "France", "BRA", "uk", "NG", "Japan")
GENDERS = ("female", "male", "F", "m", "unknown")

MALFORMED_EVERY = 25_000
NAMELESS_EVERY = 40_000


@dataclass(frozen=True)
class Generated:
    """What was written, known before anything reads it: the demo's sums are checked against this."""

    records: int
    malformed: int
    without_identifier: int

    @property
    def valid(self) -> int:
        """Records that must end up as members, each a different person."""
        return self.records - self.malformed - self.without_identifier


def write_people(path: Path, count: int, seed: int = 1) -> Generated:
    """Writes *count* records of the dataset layout as NDJSON.

    A few are wrong on purpose (one in 25,000 is not JSON, one in 40,000 has nothing to be found by), because a
    demonstration in which nothing is rejected shows half of the accounting.
    """
    malformed = nameless = 0
    with path.open("wb") as file:
        for number, line in enumerate(_lines(count, seed), start=1):
            if number % MALFORMED_EVERY == 0:
                malformed += 1
                file.write(line[: len(line) // 2] + b"\n")
            elif number % NAMELESS_EVERY == 0:
                nameless += 1
                file.write(b'{"hl7_gender":{"gender":"female"}}\n')
            else:
                file.write(line + b"\n")
    return Generated(count, malformed, nameless)


def _lines(count: int, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)  # noqa: S311 -- invented people, not keys
    for number in range(count):
        yield orjson.dumps(_person(number, chance))


def _person(number: int, chance: random.Random) -> dict[str, object]:
    digest = hashlib.sha256(f"person-{number}@example.com".encode()).hexdigest()
    person: dict[str, object] = {
        "unique_id": {"type": "sha256_email", "value": digest.upper() if number % 7 == 0 else digest},
        "person_name": {"given_name": chance.choice(GIVEN), "family_name": chance.choice(FAMILY)},
        "birthdate": f"{chance.randint(1940, 2006)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
        "hl7_gender": {"gender": chance.choice(GENDERS)},
        "iso_3166_1_country": chance.choice(COUNTRIES),
    }
    if number % 3 == 0:
        device = str(UUID(int=chance.getrandbits(128), version=4))
        person["mobile_id_unique_identifier"] = {"value": device.upper() if number % 2 else device}
    return person
