"""Invented customers as NDJSON or CSV with plain columns: the same seed gives the same bytes.

They are like an advertiser's own list: everything raw, twelve keys, of a third of the people something to repair. Every
address is at example.com, and the telephone numbers are from the ranges that no telephone answers.
"""

import csv
import random
from collections.abc import Iterator
from pathlib import Path

import orjson

from bench.people import FAMILY_ENDS, FAMILY_MIDDLES, FAMILY_STARTS, GENDERS, GENDERS_TO_REPAIR, GIVEN
from connector.audience.keys import Key, Mode
from schemas.match_keys import ColumnMapping, MappedColumn

COLUMNS = ("EMAIL", "PHONE", "GEN", "DOBY", "DOBM", "DOBD", "LN", "FN", "CT", "ST", "ZIP", "COUNTRY")
"""The keys, which are also what the columns are called, in lower case."""

MAPPING = ColumnMapping(
    columns={name.lower(): MappedColumn(key=Key(name), mode=Mode.RAW) for name in COLUMNS}, default_country="US"
)

_CITIES = (
    ("San Francisco", "California", "CA"),
    ("New York", "New York", "NY"),
    ("St. Louis", "Missouri", "MO"),
    ("Winston-Salem", "North Carolina", "NC"),
    ("Boston", "Massachusetts", "MA"),
    ("Houston", "Texas", "TX"),
    ("Seattle", "Washington", "WA"),
    ("Coeur d'Alene", "Idaho", "ID"),
)
_COUNTRIES_TO_REPAIR = ("United States", "usa", "U.S.A.", "us")

Person = dict[str, str]


def customers(count: int, *, seed: int) -> Iterator[Person]:
    """Yields *count* people as columns of text."""
    dice = random.Random(seed)
    for number in range(count):
        yield _customer(dice, number, repair=dice.random() < 1 / 3)


def write_ndjson(path: Path, count: int, *, seed: int) -> None:
    """Writes *count* people as NDJSON."""
    with path.open("wb") as file:
        file.writelines(orjson.dumps(person) + b"\n" for person in customers(count, seed=seed))


def write_csv(path: Path, count: int, *, seed: int) -> None:
    """Writes *count* people as CSV with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [name.lower() for name in COLUMNS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(customers(count, seed=seed))


def _customer(dice: random.Random, number: int, *, repair: bool) -> Person:
    city, state, code = dice.choice(_CITIES)
    given = dice.choice(GIVEN)
    family = dice.choice(FAMILY_STARTS) + dice.choice(FAMILY_MIDDLES) + dice.choice(FAMILY_ENDS)
    area, line = f"{dice.randint(201, 989)}", f"01{dice.randint(0, 99):02}"
    month, day = dice.randint(1, 12), dice.randint(1, 28)
    post_code = f"{dice.randint(501, 99950):05}"
    return {
        "email": f" Person{number}@Example.COM " if repair else f"person{number}@example.com",
        "phone": f"({area}) 555-{line}" if repair else f"+1{area}555{line}",
        "gen": dice.choice(GENDERS_TO_REPAIR if repair else GENDERS),
        "doby": str(dice.randint(1930, 2007)),
        "dobm": str(month) if repair else f"{month:02}",
        "dobd": str(day) if repair else f"{day:02}",
        "ln": f"{family}, Jr. " if repair else family,
        "fn": f" {given.upper()}." if repair else given,
        "ct": f"{city.upper()} " if repair else city,
        "st": state if repair else code,
        "zip": f"{post_code}-{dice.randint(0, 9999):04}" if repair else post_code,
        "country": dice.choice(_COUNTRIES_TO_REPAIR) if repair else "US",
    }
