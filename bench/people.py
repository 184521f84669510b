"""Invented people as NDJSON in the dataset layout: the same seed gives the same bytes.

They are like a customer's file: most have a hashed e-mail, many a device, names are accented and repeat, and about a
third has something to repair. Every address is at example.com and exists only as its hash.
"""

import random
import unicodedata
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GIVEN = _words(
    "Ann Maria José Wei Olga Peter Fatima Yusuf Chloé John Anne-Marie Ümit Søren Zoë Liam Noah Emma Mia Ivan Renée "
    "Aisha Carlos Ingrid Hiro Priya Omar Lucía Jan Eva Tom Sara Ali Nina Paul Léa Hugo Ada Max Ida Leo Rosa Otto"
)
FAMILY_STARTS = _words(
    "Ander Berg Car Dal El Fern Gold Hart Iver Jans Kirk Lind Mar Nor Ol Peters Quin Rich Sand Thor Ul Var Wal Yor Zim "
    "Grün Åker Núñ Mc O'B D'A"
)
FAMILY_MIDDLES = _words("a e i o u er en in on ar el is")
FAMILY_ENDS = _words("son sen ski man dez berg feld strom wood ton ley quist ova escu ando ini")
COUNTRIES = ("US", "US", "US", "DE", "FR", "GB", "BR", "JP")
COUNTRIES_TO_REPAIR = ("United States", "usa", "Germany", "UK", " fr ", "Brasil")
GENDERS = ("male", "female")
GENDERS_TO_REPAIR = ("M", "F", " Female", "woman", "man")


def people(count: int, *, seed: int) -> Iterator[dict[str, Any]]:
    """Yields *count* records."""
    dice = random.Random(seed)
    for number in range(count):
        yield _person(dice, number)


def write_people(path: Path, count: int, *, seed: int) -> None:
    """Writes *count* records as NDJSON."""
    with path.open("wb") as file:
        file.writelines(orjson.dumps(record) + b"\n" for record in people(count, seed=seed))


def _person(dice: random.Random, number: int) -> dict[str, Any]:
    repair = dice.random() < 1 / 3
    record: dict[str, Any] = {**_email(dice, number, repair=repair), **_device(dice, repair=repair)}
    record["person_name"] = _name(dice, repair=repair)
    record["hl7_gender"] = {"gender": dice.choice(GENDERS_TO_REPAIR if repair else GENDERS)}
    record["iso_3166_1_country"] = dice.choice(COUNTRIES_TO_REPAIR if repair else COUNTRIES)
    day = f"{dice.randint(1930, 2007)}-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
    if dice.random() < 0.9:
        record["birthdate"] = f" {day}T22:00:00-05:00" if repair else f"{day}T00:00:00Z"
    else:
        record["birth_year"] = f"{day[:4]}.0" if repair else int(day[:4])
    return record


def _email(dice: random.Random, number: int, *, repair: bool) -> dict[str, Any]:
    digest = sha256(f"person{number}@example.com".encode()).hexdigest()
    value = f" {digest.upper()}" if repair else digest
    shape = dice.random()
    if shape < 0.5:
        return {"unique_id": {"type": "sha256_email", "value": value}}
    if shape < 0.9:
        return {"sha256_hashed_email": {"value": value}}
    return {"hashed_email": {"type": "sha256_email", "value": value}}


def _device(dice: random.Random, *, repair: bool) -> dict[str, Any]:
    if dice.random() < 0.6:
        return {}
    device = UUID(int=dice.getrandbits(128), version=4)
    value = dice.choice((device.hex, str(device).upper())) if repair else str(device)
    return {dice.choice(("android_advertising_id", "apple_idfa")): {"value": value}}


def _name(dice: random.Random, *, repair: bool) -> dict[str, str]:
    given = dice.choice(GIVEN)
    family = dice.choice(FAMILY_STARTS) + dice.choice(FAMILY_MIDDLES) + dice.choice(FAMILY_ENDS)
    if repair:
        given, family = unicodedata.normalize("NFD", f" {given.upper()}."), f"{family}, Jr. "
    return {"given_name": given, "family_name": family}
