"""Cities, states and post codes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.audience.reasons import CellReason
from connector.audience.rules.places import normalise_city, normalise_state
from connector.audience.rules.post_codes import normalise_post_code
from connector.audience.rules.us_states import US_STATES


class TestCities:
    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ("New York", "newyork"),
            ("St. Mary's-on-the-Hill", "stmarysonthehill"),
            ("São Paulo", "sopaulo"),
            ("Sa\u0303o Paulo", "sopaulo"),
            ("Paris 13e", "parise"),
            ("...", ""),
            ("東京", CellReason.NOT_A_CITY),
            ("75", CellReason.NOT_A_CITY),
        ],
    )
    def test_examples(self, written: str, expected: str | CellReason) -> None:
        """Latin letters stay; an accented one goes whole, however it is encoded; a name without any is told."""
        assert normalise_city(written) == expected


class TestStates:
    @pytest.mark.parametrize(
        ("written", "country", "expected"),
        [
            ("California", "us", "ca"),
            ("california", None, "ca"),
            ("N. Carolina", "us", "ncarolina"),
            ("District of Columbia", "us", "dc"),
            ("Washington, D.C.", "us", "dc"),
            ("Puerto Rico", "pr", "pr"),
            ("CA", "us", "ca"),
            ("CA", None, "ca"),
            ("Bayern", "de", "bayern"),
            ("Ontario", "ca", "ontario"),
            ("New South Wales", None, "newsouthwales"),
            ("Montana", "bg", "montana"),
            ("Baden-Württemberg", "de", "badenwrttemberg"),
            ("75", "fr", CellReason.NOT_A_STATE),
            ("-", None, ""),
        ],
    )
    def test_examples(self, written: str, country: str | None, expected: str | CellReason) -> None:
        """States of the US become their codes, unless the row is another country's; all others stay whole."""
        assert normalise_state(written, country) == expected

    def test_all_states(self) -> None:
        """Fifty states, the district and five territories have a code of two letters."""
        assert len(set(US_STATES.values())) == 56
        assert all(len(code) == 2 for code in US_STATES.values())


class TestPostCodes:
    @pytest.mark.parametrize(
        ("written", "country", "expected"),
        [
            ("94035", "us", "94035"),
            ("94035-1234", "us", "94035"),
            ("94035-1234", None, "94035"),
            ("940351234", "us", "94035"),
            ("940351234", None, "940351234"),
            ("940351234", "de", "940351234"),
            ("00501", "us", "00501"),
            ("00918-1234", "pr", "00918"),
            ("01067", "de", "01067"),
            ("SW1A 1AA", "gb", "sw1a1aa"),
            ("M1 1AE", None, "m11ae"),
            ("1000-001", "pt", "1000001"),
            ("00-950", "pl", "00950"),
            ("K1A 0A6", "ca", "k1a0a6"),
            ("\uff11\uff10\uff10-\uff10\uff10\uff10\uff11", "jp", "1000001"),
            ("\x1fZIP\u200b123", None, "zip123"),
            (" - ", None, ""),
            ("1", None, CellReason.NOT_A_POST_CODE),
            ("東京", "jp", CellReason.NOT_A_POST_CODE),
        ],
    )
    def test_examples(self, written: str, country: str | None, expected: str | CellReason) -> None:
        """Lower case without spaces and dashes; of American codes the first five digits; leading zeros stay."""
        assert normalise_post_code(written, country) == expected

    @given(st.integers(0, 99_999), st.integers(0, 9_999))
    def test_american(self, code: int, more: int) -> None:
        """Every American code comes to its five digits, with the four more and without."""
        five = f"{code:05}"
        assert {normalise_post_code(text, "us") for text in (five, f"{five}-{more:04}", f"{five}{more:04}")} == {five}
