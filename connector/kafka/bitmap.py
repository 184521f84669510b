"""The offsets finished above the committed one, as text that fits into the commit's metadata field.

Pure. Layout, base64url without padding: `u1`, one byte of flags (0), varint(base), varint(n), a bitset of n bits; bit i
(least significant first) says that offset base + 1 + i is finished. The base itself never is: it would not be the base.

The text is an optimisation. Whoever cannot read it handles the records again; nothing is ever skipped on a guess.
"""

import base64
import binascii

WINDOW = 20_000
"""Offsets above the base that are remembered: 2,500 bytes, at most 3,355 characters whatever the pattern."""

MAX_CHARACTERS = 4_095
"""Kafka refuses a commit whose metadata is longer than 4,096 characters (`offset.metadata.max.bytes`)."""

_MAGIC = b"u1\x00"
_LONGEST_VARINT = 10


class UnreadableBitmap(ValueError):
    """Raised when commit metadata is not a bitmap for this base; the finished records above it are handled again."""


def encode(base: int, done: int) -> str:
    """The metadata of a commit at *base*.

    Args:
        base: The committed offset, not negative.
        done: Bit i set = offset base + 1 + i is finished. Bits beyond the window are left out (and so repeated).

    Returns:
        At most `MAX_CHARACTERS` characters; empty when nothing above the base is finished.
    """
    kept = done & ((1 << WINDOW) - 1)
    if not kept:
        return ""
    bits = kept.bit_length()
    raw = _MAGIC + _varint(base) + _varint(bits) + kept.to_bytes((bits + 7) // 8, "little")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(metadata: str, base: int) -> int:
    """The inverse of `encode`: the bits finished above *base*, 0 for empty metadata.

    Raises:
        UnreadableBitmap: Other software's metadata, a damaged or longer-than-allowed text, or a bitmap made for another
            base (tools that copy offsets between clusters keep the metadata and change the offset).
    """
    if not metadata:
        return 0
    raw = _raw(metadata)
    if not raw.startswith(_MAGIC):
        raise UnreadableBitmap("it does not start as a bitmap of ours, or has flags this version does not know")
    written_base, at = _read_varint(raw, len(_MAGIC))
    bits, at = _read_varint(raw, at)
    if written_base != base:
        raise UnreadableBitmap(f"it was written for offset {written_base}, the committed one is {base}")
    done = int.from_bytes(raw[at:], "little")
    if not 0 < bits <= WINDOW or len(raw) - at != (bits + 7) // 8 or done.bit_length() != bits:
        raise UnreadableBitmap(f"it promises {bits} bits and holds {len(raw) - at} bytes")
    return done


def _raw(metadata: str) -> bytes:
    try:
        return base64.b64decode(metadata + "=" * (-len(metadata) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableBitmap("it is not base64url") from None


def _varint(value: int) -> bytes:
    """Seven bits a byte, least significant first, the top bit set on all but the last (LEB128)."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number at *at* and the index after it."""
    value = 0
    for length, byte in enumerate(raw[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * length)
        if byte < 0x80:
            return value, at + length + 1
    raise UnreadableBitmap("a number in it does not end")
