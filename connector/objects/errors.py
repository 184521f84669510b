"""What can go wrong with a store, named by what the caller can do about it.

StoreError
├── UnknownStore        the event names a store that is not configured: fix the event or the settings
├── InvalidKey          the key is not one: fix the event
├── ObjectMissing       nothing lies there: fix the event, or write the file
├── ObjectChanged       it is not the object that was planned: plan again
├── ObjectTruncated     it holds fewer bytes than promised: plan again
├── StoreRefused        the store will not serve us: fix credentials, permissions or the bucket's name
└── StoreUnavailable    time-out, connection, 5xx, SlowDown: try again later (`retryable`)
"""

from typing import ClassVar


class StoreError(Exception):
    """Base of all. `code` is the reason slug that ends up on a delivery; the text holds no data of a record."""

    code: ClassVar[str] = "store_error"
    retryable: ClassVar[bool] = False


class UnknownStore(StoreError):
    """Raised when no store of that name is configured; the text names the configured ones."""

    code = "unknown_store"


class InvalidKey(StoreError):
    """Raised before anything is opened, when a key could mean something else than one object below the root."""

    code = "invalid_key"


class ObjectMissing(StoreError):
    """Raised when nothing lies under the key."""

    code = "object_missing"


class ObjectChanged(StoreError):
    """Raised when the object's etag is not the expected one, before or while it is read."""

    code = "object_changed"


class ObjectTruncated(StoreError):
    """Raised when the object ends before the range does."""

    code = "object_truncated"


class StoreRefused(StoreError):
    """Raised when the store answers that it will not serve us, now or later: a person has to change something."""

    code = "store_refused"


class StoreUnavailable(StoreError):
    """Raised when the store could not be reached or could not answer; the same call may work later."""

    code = "store_unavailable"
    retryable = True
