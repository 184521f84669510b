"""Records of chunks that the tests of the uploader hand it, and what Meta may say of them."""

import orjson

from tests.integration.uploader_parts import Bench
from tests.records import line

WHO = "watermark"


def lines(count: int, start: int = 0) -> list[str]:
    """Records of *count* people."""
    return [line(WHO, number) for number in range(start, start + count)]


def twins(count: int) -> list[str]:
    """Records with two devices each: two rows."""
    return [
        orjson.dumps(
            {
                "android_advertising_id": {"value": f"{number:08x}-aaaa-4aaa-8aaa-aaaaaaaaaaaa"},
                "apple_idfa": {"value": f"{number:08x}-bbbb-4bbb-8bbb-bbbbbbbbbbbb"},
            }
        ).decode()
        for number in range(count)
    ]


def invalid_reply(bench: Bench, sent: int, invalid: int, samples: dict[str, str]) -> dict[str, object]:
    """A users reply that refuses rows."""
    return {
        "audience_id": bench.audience,
        "session_id": "1",
        "num_received": sent,
        "num_invalid_entries": invalid,
        "invalid_entry_samples": samples,
    }
