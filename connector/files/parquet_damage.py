"""What is wrong with a Parquet file that cannot be read, in our words: Arrow's quote what they met."""

from collections.abc import Iterator
from contextlib import contextmanager

from connector.files.limits import LimitViolated


class UnreadableParquet(Exception):
    """Raised where a file is no Parquet file we can read. `reason` is a slug; the text never quotes the file."""

    def __init__(self, reason: str) -> None:
        super().__init__(_TEXTS[reason])
        self.reason = reason


_TEXTS = {
    "not_parquet": "the file does not end like a Parquet file: it was cut off, or is something else",
    "damaged": "the Parquet file is damaged",
    "encrypted": "the Parquet file is encrypted",
    "ambiguous": "the Parquet file has two columns of the same name",
    "no_such_rows": "the Parquet file has fewer rows or row groups than were planned",
}


@contextmanager
def refusing() -> Iterator[None]:
    """Arrow's errors as ours."""
    import pyarrow as pa  # noqa: PLC0415

    try:
        yield
    except (UnreadableParquet, LimitViolated):
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UnreadableParquet("encrypted" if "ncrypt" in str(error) else "damaged") from None
