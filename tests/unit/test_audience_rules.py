"""The rules of the match keys against published vectors, and the promises no vector states."""

import json
import unicodedata
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.audience.keys import Key, identifies
from connector.audience.normalise import Mode, digest, normalise
from connector.audience.reasons import CellReason
from connector.audience.rules.countries import normalise_country
from connector.audience.rules.dates import normalise_date, normalise_year
from connector.audience.rules.digests import JUNK_DIGESTS, normalise_digest
from connector.audience.rules.names import normalise_name, normalise_names

VECTORS = Path(__file__).parents[1] / "vectors"
OURS = {key.value for key in Key}
HASH = sha256(b"ann@example.com").hexdigest()


def vectors(name: str) -> list[dict[str, Any]]:
    lines = (VECTORS / name).read_text(encoding="utf-8").splitlines()
    return [vector for vector in map(json.loads, lines) if vector["field"] in OURS]


class TestVectors:
    @pytest.mark.parametrize("vector", vectors("normalization.jsonl"), ids=lambda v: f"{v['field']}-{v['input']!a:.40}")
    def test_published(self, vector: dict[str, Any]) -> None:
        """Every published vector of our keys comes out as published, hash included."""
        normalised = normalise(Key(vector["field"]), vector["input"], mode=Mode.AUTO)
        text = "" if isinstance(normalised, CellReason) else normalised
        assert (vector["normalized"] or "") == text
        if "sha256" in vector:
            assert vector["sha256"] == (text if text == vector["input"].lower() and len(text) == 64 else digest(text))

    @pytest.mark.parametrize(
        "vector", vectors("normalization_deviations.jsonl"), ids=lambda v: f"{v['field']}-{v['input']!a:.40}"
    )
    def test_deliberate_differences(self, vector: dict[str, Any]) -> None:
        """Where a published implementation leaves Meta's documents, we follow the documents."""
        assert vector["doc_value"] == normalise(Key(vector["field"]), vector["input"], mode=Mode.AUTO)
        assert vector["normalized"] != vector["doc_value"]

    def test_every_key_has_vectors(self) -> None:
        """No key of ours is left out of the vectors by a change of names."""
        assert {vector["field"] for vector in vectors("normalization.jsonl")} == OURS


class TestModes:
    @pytest.mark.parametrize("key", sorted(OURS - {Key.MADID}))
    def test_hash_in_a_raw_place(self, key: str) -> None:
        """A hash where a plain value is due is refused: hashing it again would match nobody."""
        assert CellReason.ALREADY_HASHED == normalise(Key(key), f" {HASH.upper()} ", mode=Mode.RAW)

    @pytest.mark.parametrize("text", ["ann@example.com", HASH[:-1], HASH + "0", "g" * 64, HASH[:32], "x"])
    def test_no_hash_in_a_hashed_place(self, text: str) -> None:
        """What is not 64 hexadecimal digits never leaves as a hash."""
        assert CellReason.NOT_A_HASH == normalise(Key.EMAIL, text, mode=Mode.SHA256)

    def test_hash_is_lower_cased(self) -> None:
        """A hash is trimmed and lower-cased, so that it can match."""
        assert HASH == normalise(Key.EMAIL, f"\t{HASH.upper()}\n", mode=Mode.SHA256)

    @pytest.mark.parametrize("word", ["", "null", "None", "nan", "undefined", "NULL", "n/a"])
    def test_hashes_of_junk(self, word: str) -> None:
        """The hash of nothing never leaves, in any case."""
        junk = sha256(word.encode()).hexdigest()
        assert junk in JUNK_DIGESTS
        assert CellReason.JUNK == normalise_digest(junk.upper())

    @pytest.mark.parametrize("key", sorted(OURS))
    @pytest.mark.parametrize("text", ["null", " None ", "(NaN)", "undefined", "N/A", "NULL"])
    def test_words_of_junk(self, key: str, text: str) -> None:
        """A program's word for nothing is never hashed as a value."""
        assert isinstance(normalise(Key(key), text), CellReason)

    @pytest.mark.parametrize("key", sorted(OURS))
    @given(text=st.text())
    def test_nothing_is_never_hashed(self, key: str, text: str) -> None:
        """Whatever the text, a rule gives a value, nothing or a reason, and nothing has no hash."""
        normalised = normalise(Key(key), text)
        assert isinstance(normalised, CellReason) or digest(normalised) not in JUNK_DIGESTS
        assert digest("") == ""


class TestNames:
    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ("Jose\u0301", "josé"),
            ("O\u2019Brien", "obrien"),
            ("  von  der\u00a0Leyen ", "vonderleyen"),
            ("e-\u0301", "é"),
            ("J\u030c", "ǰ"),
            ("\u0928\u093f\u0930\u094d\u092e\u0932\u093e", "\u0928\u093f\u0930\u094d\u092e\u0932\u093e"),
            ("🎉Ann🎉", "ann"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
            ("...", ""),
        ],
    )
    def test_examples(self, written: str, expected: str) -> None:
        """Accents stay, composed; spaces, punctuation and symbols of any script go."""
        assert expected == normalise_name(written)

    @given(st.text())
    def test_is_stable(self, text: str) -> None:
        """A normalised name is composed, and normalising it again changes nothing."""
        once = normalise_name(text)
        assert unicodedata.is_normalized("NFC", once)
        assert once == normalise_name(once)

    @given(st.text())
    def test_composition_does_not_matter(self, text: str) -> None:
        """A name has one hash, however its accents are encoded."""
        assert normalise_name(unicodedata.normalize("NFC", text)) == normalise_name(unicodedata.normalize("NFD", text))

    @given(st.lists(st.text()))
    def test_many_at_once(self, texts: list[str]) -> None:
        """Normalising many names in one sweep gives what each alone gives: they do not influence each other."""
        assert [normalise_name(text) for text in texts] == normalise_names(texts)


class TestCountries:
    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ("US", "us"),
            (" uk ", "gb"),
            ("GBR", "gb"),
            ("United States", "us"),
            ("The United States of America", "us"),
            ("U.S.A.", "us"),
            ("Germany", "de"),
            ("Deutschland", "de"),
            ("COTE D'IVOIRE", "ci"),
            ("Türkiye", "tr"),
            ("the Netherlands", "nl"),
            ("zz", "zz"),
            ("", ""),
            ("Atlantis", CellReason.UNKNOWN_COUNTRY),
            ("49", CellReason.UNKNOWN_COUNTRY),
        ],
    )
    def test_examples(self, written: str, expected: str | CellReason) -> None:
        """Codes, alpha-3 codes and names become the alpha-2 code; what is no country is refused, never cut short."""
        assert expected == normalise_country(written)


class TestDates:
    @pytest.mark.parametrize(
        "written",
        ["1990-05-17", " 1990-05-17 ", "1990-05-17T23:30:00-11:00", "1990-05-17T00:00:00.000Z", "1990-05-17 00:30+14"],
    )
    def test_the_day_as_written(self, written: str) -> None:
        """A birthday is the calendar day as written, whatever its time and offset."""
        assert ("1990", "05", "17") == normalise_date(written, this_year=2026)

    @pytest.mark.parametrize(
        ("written", "reason"),
        [
            ("1990-02-30", CellReason.UNREADABLE_DATE),
            ("17.05.1990", CellReason.UNREADABLE_DATE),
            ("1990-05-17 or so", CellReason.UNREADABLE_DATE),
            ("١٩٩٠-05-17", CellReason.UNREADABLE_DATE),
            ("1899-12-31", CellReason.YEAR_OUT_OF_RANGE),
            ("2027-01-01", CellReason.YEAR_OUT_OF_RANGE),
        ],
    )
    def test_refused(self, written: str, reason: CellReason) -> None:
        """A day that is none, is not readable or cannot be a birthday is refused with its reason."""
        assert reason == normalise_date(written, this_year=2026)

    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ("1999", "1999"),
            ("1999.0", "1999"),
            ("99", CellReason.UNREADABLE_DATE),
            ("3000", CellReason.YEAR_OUT_OF_RANGE),
        ],
    )
    def test_years(self, written: str, expected: str | CellReason) -> None:
        """A year has four digits and may have gone through a table of floating-point numbers."""
        assert expected == normalise_year(written, this_year=2026)


class TestWhoIsIdentified:
    @pytest.mark.parametrize(
        ("keys", "expected"),
        [
            ({Key.EMAIL}, True),
            ({Key.MADID}, True),
            ({Key.LN, Key.FN, Key.DOBY}, True),
            ({Key.LN, Key.FI, Key.DOBY}, True),
            ({Key.LN, Key.FN, Key.DOBM, Key.DOBD, Key.COUNTRY, Key.GEN}, False),
            ({Key.FN, Key.FI, Key.DOBY}, False),
            (set(), False),
        ],
    )
    def test_rule(self, keys: set[Key], *, expected: bool) -> None:
        """One identifier, or last name with first name or initial and year of birth."""
        assert expected is identifies(keys)
