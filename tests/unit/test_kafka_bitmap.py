"""The commit's metadata: fits always, says exactly what is finished, and is not trusted further than it can be read."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.bitmap import MAX_CHARACTERS, WINDOW, UnreadableBitmap, decode, encode

BASES = st.integers(min_value=0, max_value=2**63 - 1)
BITS = st.sets(st.integers(min_value=0, max_value=WINDOW - 1), max_size=50)


def mask(bits: set[int]) -> int:
    """Bits by their numbers."""
    return sum(1 << bit for bit in bits)


def crafted(raw: bytes) -> str:
    """Metadata with *raw* inside."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class TestRoundTrip:
    @given(base=BASES, bits=BITS)
    def test_what_was_finished_comes_back(self, base: int, bits: set[int]) -> None:
        """Exactly the finished offsets are read back."""
        assert mask(bits) == decode(encode(base, mask(bits)), base)

    def test_nothing_finished_needs_no_metadata(self) -> None:
        """A commit with nothing above it carries no text, as other software's commits do."""
        assert encode(5, 0) == ""
        assert decode("", 5) == 0

    def test_the_layout_is_as_documented(self) -> None:
        """`u1`, flags 0, base 300, 4 bits, least significant first: what was once committed must stay readable."""
        assert crafted(b"u1\x00\xac\x02\x04\x0b") == encode(300, 0b1011)


class TestLimits:
    @pytest.mark.parametrize("base", [0, 2**63 - 1])
    @pytest.mark.parametrize(
        "done",
        [(1 << WINDOW) - 1, 1 << (WINDOW - 1), mask(set(range(1, WINDOW, 2)))],
        ids=["all", "the last", "every other"],
    )
    def test_a_full_window_fits(self, base: int, done: int) -> None:
        """Whatever the pattern, the text stays below Kafka's limit of 4,096 characters."""
        text = encode(base, done)
        assert len(text) <= 3_356 < MAX_CHARACTERS
        assert done == decode(text, base)

    def test_what_lies_beyond_the_window_is_left_out(self) -> None:
        """Offsets beyond the window are repeated after a restart instead of breaking the commit."""
        assert decode(encode(7, 1 << WINDOW | 0b101), 7) == 0b101


class TestUnreadable:
    @pytest.mark.parametrize(
        "metadata",
        [
            "committed by somebody's script",
            "ünïcode",
            "A",
            crafted(b"u2\x00\x05\x01\x01"),
            crafted(b"u1\x01\x05\x01\x01"),
            crafted(b"u1\x00"),
            crafted(b"u1\x00\x05"),
            crafted(b"u1\x00" + b"\xff" * 11),
            crafted(b"u1\x00\x05\x00"),
            crafted(b"u1\x00\x05\x09\x01"),
            crafted(b"u1\x00\x05\x01\x01\x00"),
            crafted(b"u1\x00\x05\x02\x01"),
            crafted(b"u1\x00\x05\x01\x03"),
            crafted(b"u1\x00\x05\xa1\x9c\x01" + b"\x00" * 2_500 + b"\x01"),
        ],
        ids=[
            "other software",
            "not ascii",
            "half a character",
            "later version",
            "unknown flags",
            "ends after flags",
            "ends after base",
            "endless number",
            "no bits",
            "too few bytes",
            "too many bytes",
            "fewer bits than promised",
            "more bits than promised",
            "wider than the window",
        ],
    )
    def test_is_said_and_not_guessed(self, metadata: str) -> None:
        """Text that is not exactly a bitmap is refused as a whole: a guess could skip records."""
        with pytest.raises(UnreadableBitmap):
            decode(metadata, 5)

    def test_another_offset_is_another_story(self) -> None:
        """A bitmap whose offset was changed by a tool would point at the wrong records."""
        with pytest.raises(UnreadableBitmap, match="written for offset 5, the committed one is 6"):
            decode(encode(5, 0b11), 6)

    @given(base=BASES, text=st.text(max_size=60))
    def test_any_text_is_either_read_or_refused(self, base: int, text: str) -> None:
        """No text makes it fail in another way."""
        try:
            done = decode(text, base)
        except UnreadableBitmap:
            return
        assert done == 0 or text.rstrip("=") == encode(base, done)
