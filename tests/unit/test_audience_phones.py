"""Clear phone numbers: what the columns decide is what the library would have said."""

import random

import phonenumbers
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.audience.clear_phones import LIVES, WRITTEN, clear_phones
from connector.audience.rules.phones import normalise_phone

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
FORMS = (
    "+{code}{digits}",
    "{code}{digits}",
    "{digits}",
    "0{digits}",
    "00{code}{digits}",
    "1{digits}",
    "011{digits}",
    "{digits}.0",
)


def decided(texts: list[str], countries: list[str | None]) -> list[str | None]:
    table = pl.DataFrame({WRITTEN: texts, LIVES: countries}, schema={WRITTEN: pl.String, LIVES: pl.String})
    return clear_phones(table, None).to_list()


def assert_as_the_library_says(texts: list[str], countries: list[str | None]) -> None:
    found = decided(texts, countries)
    for text, country, plain in zip(texts, countries, found, strict=True):
        assert plain in {None, normalise_phone(text, country)}, (text, country)


class TestEqualToTheLibrary:
    @pytest.mark.parametrize("seed", range(3))
    def test_random_digits_in_every_region(self, seed: int) -> None:
        """In every region, digits of every length in every way to write them come out as the library reads them."""
        dice = random.Random(seed)
        texts: list[str] = []
        countries: list[str | None] = []
        for region in REGIONS:
            code = phonenumbers.country_code_for_region(region)
            for form in FORMS:
                digits = "".join(dice.choices("0123456789", k=dice.randint(4, 12)))
                texts.append(form.format(code=code, digits=digits))
                countries.append(dice.choice([region.lower(), region.lower(), None, dice.choice(REGIONS).lower()]))
        assert_as_the_library_says(texts, countries)

    @settings(max_examples=15, deadline=None)
    @given(st.integers())
    def test_numbers_close_to_real_ones(self, seed: int) -> None:
        """So do the library's own example numbers, with a digit or two changed, in every format."""
        dice = random.Random(seed)
        texts: list[str] = []
        countries: list[str | None] = []
        for region in dice.sample(REGIONS, 60):
            kind = dice.choice([0, 1, 3])
            example = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
            if example is None:
                continue
            digits = list(phonenumbers.format_number(example, dice.choice([0, 1, 2])))
            for _ in range(dice.randint(0, 2)):
                at = dice.randrange(len(digits))
                if digits[at].isdigit():
                    digits[at] = dice.choice("0123456789")
            texts.append("".join(digits))
            countries.append(region.lower())
        assert_as_the_library_says(texts, countries)

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(st.text("0123456789+ -.()/\u00a0\uff0b\u0663x", max_size=16), max_size=20),
        st.sampled_from([None, "us", "de", "gb", "it", "br", "mx", "ar", "aq", "jp"]),
    )
    def test_anything_that_looks_like_one(self, texts: list[str], country: str | None) -> None:
        """So does whatever is made of the characters of phone numbers."""
        assert_as_the_library_says(texts, [country] * len(texts))


class TestReach:
    @pytest.mark.parametrize("country", [None, "us", "de"])
    def test_a_floating_point_number_is_left_to_the_rule(self, country: str | None) -> None:
        """The last zero of `16505551212.0` is no digit of the number."""
        assert [None] == decided(["16505551212.0"], [country])

    @pytest.mark.parametrize(
        ("text", "country", "plain"),
        [
            ("+16505551212", None, "16505551212"),
            ("(650) 555-1212", "us", "16505551212"),
            ("1-650-555-1212", "us", "16505551212"),
            ("0171 1234567", "de", "491711234567"),
            ("0049 171 1234567", "fr", "491711234567"),
            ("16505551212", None, "16505551212"),
        ],
    )
    def test_common_ways_to_write_are_clear(self, text: str, country: str | None, plain: str) -> None:
        """How most people write their number is decided without the library."""
        assert [plain] == decided([text], [country])
