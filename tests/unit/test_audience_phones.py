"""Phone numbers: as people write them, in their country and out of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.audience.reasons import CellReason
from connector.audience.rules.phones import has_calling_code, normalise_phone

LONDON = "442079460958"


class TestInACountry:
    @pytest.mark.parametrize(
        "written",
        [
            "020 7946 0958",
            "(020) 7946-0958",
            "+44 20 7946 0958",
            "+44 (0)20 7946 0958",
            "(+44) 020.7946.0958",
            "0044 20 7946 0958",
            "44 20 7946 0958",
            "tel:+44-20-7946-0958",
            "\uff0b\uff14\uff14 \uff12\uff10 7946 0958",
            "020 7946 0958 ext. 12",
        ],
    )
    def test_one_number(self, written: str) -> None:
        """However a number is written in its country, its digits are the same: no trunk zero, code in front."""
        assert normalise_phone(written, "gb") == LONDON

    @pytest.mark.parametrize(
        ("written", "country", "expected"),
        [
            ("(650)555-1212", "us", "16505551212"),
            ("1 650 555 1212", "us", "16505551212"),
            ("650-253-0000 ext. 123", "us", "16502530000"),
            ("16502530000.0", "us", "16502530000"),
            ("011 44 20 7946 0958", "us", LONDON),
            ("8 (495) 123-45-67", "ru", "74951234567"),
            ("06 1234 5678", "it", "390612345678"),
            ("091-2345678", "vn", "84912345678"),
            ("015112345678", "de", "4915112345678"),
            ("011 15-2345-6789", "ar", "5491123456789"),
            ("0011 44 20 7946 0958", "au", LONDON),
            ("\u0660\u0662\u0660 7946 0958", "gb", LONDON),
        ],
    )
    def test_customs(self, written: str, country: str, expected: str) -> None:
        """Trunk prefixes, zeros that stay (Italy), ways out of the country: what is custom in a country is known."""
        assert normalise_phone(written, country) == expected

    @pytest.mark.parametrize(
        ("written", "country", "expected"),
        [
            ("4915112345678", "de", "4915112345678"),
            ("47123456", "no", "4747123456"),
            ("3471234567", "it", "393471234567"),
            ("447911123456", "us", "447911123456"),
        ],
    )
    def test_calling_code_without_a_plus(self, written: str, country: str, expected: str) -> None:
        """Digits that begin with a calling code are read so where that gives a number, and else as of the country."""
        assert normalise_phone(written, country) == expected

    def test_trunk_zero_is_no_way_abroad(self) -> None:
        """What stands behind a trunk zero is never taken for another country's calling code (+20 is Egypt)."""
        assert normalise_phone("020 1234 5678", "gb") == "442012345678"

    @pytest.mark.parametrize("written", ["1 498 530 0000", "498 530 0000"])
    def test_not_yet_assigned(self, written: str) -> None:
        """A number of the right length is of its country, though nobody has it there yet (+49 8530 0000 is German)."""
        assert normalise_phone(written, "us") == "14985300000"

    @pytest.mark.parametrize("written", ["5", "911", "253-0000", "555 1234 555 1234 555", "+44", "n.a.", "0"])
    def test_refused(self, written: str) -> None:
        """What cannot be called from abroad is refused: too short, too long, without an area code, no digits."""
        assert normalise_phone(written, "us") is CellReason.NOT_A_PHONE


class TestWithoutACountry:
    @pytest.mark.parametrize(
        "written", ["+44 20 7946 0958", "+44 (0)20 7946 0958", "0044 (0)20 7946 0958", "44 (0)20 7946 0958"]
    )
    def test_international(self, written: str) -> None:
        """A number with its calling code needs no country, and loses its trunk zero too."""
        assert normalise_phone(written) == LONDON

    def test_national(self) -> None:
        """Of a number without a country the digits are what is known of it, and it is known that this is all."""
        assert normalise_phone("020 7946 0958") == "2079460958"
        assert not has_calling_code("020 7946 0958")
        assert has_calling_code("020 7946 0958", "gb")
        assert has_calling_code("0044 20 7946 0958")

    def test_country_without_numbers(self) -> None:
        """A country the library does not know is as none."""
        assert normalise_phone("020 7946 0958", "zz") == "2079460958"

    @pytest.mark.parametrize("written", ["+44", "+999 1234567", "call me", "0", "1234567890123456"])
    def test_refused(self, written: str) -> None:
        """A calling code without a number, more digits than a number has, and words are refused."""
        assert normalise_phone(written) is CellReason.NOT_A_PHONE

    @pytest.mark.parametrize("written", ["", " \t", "+++", "()- +."])
    def test_nothing(self, written: str) -> None:
        """Punctuation alone is nothing."""
        assert normalise_phone(written) == ""


@given(st.integers(2_000_000_000, 9_999_999_999), st.sampled_from(["{}", "1{}", "+1{}", "001{}", "+1 {}", "{}.0"]))
def test_american_numbers(number: int, form: str) -> None:
    """Every American number comes to its ten digits with a one in front, however much of it is written."""
    assert normalise_phone(form.format(number), "us") == f"1{number}"
