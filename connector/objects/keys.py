"""Object keys are data that came with an event. Only what can mean nothing but one object below the root is a key."""

from connector.objects.errors import InvalidKey

MAX_KEY_BYTES = 1_024
"""S3's own limit on a key, in UTF-8 bytes."""


def check_key(key: str) -> str:
    """Returns *key* when it is one.

    The same rule holds for every kind of store: S3 itself does not read `..`, but proxies and HTTP libraries do.

    Raises:
        InvalidKey: It is empty, too long, absolute, or has an empty, `.` or `..` part or a control character.
    """
    problem = _problem(key)
    if problem is not None:
        raise InvalidKey(f"key {key[:120]!r} {problem}: a key names one object below the store's root")
    return key


def _problem(key: str) -> str | None:
    if not key:
        return "is empty"
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in key):
        return "holds a control character"
    if any(0xD800 <= ord(character) < 0xE000 for character in key):
        return "is not valid Unicode"
    if len(key.encode()) > MAX_KEY_BYTES:
        return f"is longer than {MAX_KEY_BYTES} bytes"
    if key.startswith("/"):
        return "is absolute"
    parts = key.split("/")
    if "" in parts or "." in parts or ".." in parts:
        return "has an empty, '.' or '..' part"
    return None
