"""Keys that leave in plain: device ids, ids, values and processing options."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.audience.keys import Key
from connector.audience.normalise import normalise
from connector.audience.reasons import CellReason
from connector.audience.rules.processing import agreed
from connector.audience.rules.values import normalise_value

DEVICE = "966a15b1-6505-4cb7-ba30-3342c5019112"


class TestIds:
    @pytest.mark.parametrize("written", [DEVICE, f" {DEVICE.upper()}\n", DEVICE.replace("-", "")])
    def test_device(self, written: str) -> None:
        """A device id is trimmed, in lower case and has its hyphens."""
        assert normalise(Key.MADID, written) == DEVICE

    @pytest.mark.parametrize("written", ["0" * 32, "00000000-0000-0000-0000-000000000000", DEVICE[:-1], "x" * 36, "5"])
    def test_no_device(self, written: str) -> None:
        """The id that all phones with limited tracking share, and what is no UUID, match nobody."""
        assert normalise(Key.MADID, written) is CellReason.NOT_A_DEVICE_ID

    def test_own_ids(self) -> None:
        """The advertiser's own id leaves as it is, hash or not, but for white space around it."""
        assert normalise(Key.EXTERN_ID, " Kd-00 17/\u00e9\u0301 ") == "Kd-00 17/\u00e9\u0301"
        assert normalise(Key.EXTERN_ID, "A" * 64) == "A" * 64

    @pytest.mark.parametrize("key", [Key.UID, Key.APPUID, Key.PAGEUID])
    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            (" 10158012345678901 ", "10158012345678901"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", CellReason.NOT_AN_ID),
            ("1.0158e16", CellReason.NOT_AN_ID),
            ("-5", CellReason.NOT_AN_ID),
            ("0", CellReason.NOT_AN_ID),
            ("\u0661", CellReason.NOT_AN_ID),
            ("9" * 10_000, CellReason.NOT_AN_ID),
        ],
    )
    def test_ids_of_meta(self, key: Key, written: str, expected: str | CellReason) -> None:
        """Meta's ids are unsigned numbers of 64 bits; one that went through a floating-point number is lost."""
        assert normalise(key, written) == expected


class TestValues:
    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ("0", "0"),
            ("0.00", "0"),
            ("000", "0"),
            ("12.50", "12.5"),
            ("007", "7"),
            ("+3", "3"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e3", "1000"),
            ("2.5E-3", "0.0025"),
            ("", ""),
            ("-1", CellReason.NOT_A_VALUE),
            ("-0", CellReason.NOT_A_VALUE),
            ("1,234", CellReason.NOT_A_VALUE),
            ("$5", CellReason.NOT_A_VALUE),
            ("inf", CellReason.NOT_A_VALUE),
            ("1e99", CellReason.NOT_A_VALUE),
            ("1e999999999", CellReason.NOT_A_VALUE),
            ("1_000", CellReason.NOT_A_VALUE),
            ("nan", CellReason.JUNK),
        ],
    )
    def test_examples(self, written: str, expected: str | CellReason) -> None:
        """A number of zero or more has one form; what could be read in two ways is refused."""
        assert normalise(Key.LOOKALIKE_VALUE, written) == expected

    @given(st.decimals(min_value=0, max_value=10**14, allow_nan=False, places=4))
    def test_is_the_number(self, number: Decimal) -> None:
        """The form is a JSON number of the same value, and the same for the same number."""
        plain = normalise_value(str(number))
        assert isinstance(plain, str)
        assert json.loads(plain, parse_float=Decimal, parse_int=Decimal) == number
        assert normalise_value(f"{number:.9f}") == plain


class TestProcessingOptions:
    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ("", ""),
            ("[]", "[]"),
            ("[ ]", "[]"),
            ("LDU", '["LDU"]'),
            ("ldu", '["LDU"]'),
            ('["LDU"]', '["LDU"]'),
            ('[ "ldu" , "LDU" ]', '["LDU"]'),
            ('["LDU","X"]', CellReason.NOT_AN_OPTION),
            ("[0]", CellReason.NOT_AN_OPTION),
            ("{}", CellReason.NOT_AN_OPTION),
            ("0", CellReason.NOT_AN_OPTION),
            ("[" * 100_000, CellReason.NOT_AN_OPTION),
        ],
    )
    def test_options(self, written: str, expected: str | CellReason) -> None:
        """No options or limited use, as the JSON Meta takes."""
        assert normalise(Key.DATA_PROCESSING_OPTIONS, written) == expected

    @pytest.mark.parametrize(
        ("key", "written", "expected"),
        [
            (Key.DATA_PROCESSING_OPTIONS_COUNTRY, "1", "1"),
            (Key.DATA_PROCESSING_OPTIONS_COUNTRY, "0", "0"),
            (Key.DATA_PROCESSING_OPTIONS_COUNTRY, "1.0", "1"),
            (Key.DATA_PROCESSING_OPTIONS_COUNTRY, "2", CellReason.NOT_AN_OPTION),
            (Key.DATA_PROCESSING_OPTIONS_COUNTRY, "US", CellReason.NOT_AN_OPTION),
            (Key.DATA_PROCESSING_OPTIONS_STATE, "1000", "1000"),
            (Key.DATA_PROCESSING_OPTIONS_STATE, "1013", "1013"),
            (Key.DATA_PROCESSING_OPTIONS_STATE, "0", "0"),
            (Key.DATA_PROCESSING_OPTIONS_STATE, "1014", CellReason.NOT_AN_OPTION),
            (Key.DATA_PROCESSING_OPTIONS_STATE, "CA", CellReason.NOT_AN_OPTION),
        ],
    )
    def test_places(self, key: Key, written: str, expected: str | CellReason) -> None:
        """Country and state are Meta's numbers for them."""
        assert normalise(key, written) == expected

    @pytest.mark.parametrize(
        ("given_pair", "sent"),
        [(("", ""), ("", "")), (("1", "1000"), ("1", "1000")), (("1", ""), ("0", "0")), (("", "1000"), ("1", "1000"))],
    )
    def test_never_one_without_the_other(self, given_pair: tuple[str, str], sent: tuple[str, str]) -> None:
        """Country and state leave together or not at all, and what is missing is left to Meta to find out."""
        assert agreed(*given_pair) == sent
