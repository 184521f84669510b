"""What a file is: from what the delivery says or else the ending of its key, and held against its first bytes.

Nothing is guessed from the content: a guess that is right for a thousand files sends the columns of the next one as
people. The first bytes only have to agree.
"""

from dataclasses import dataclass

from schemas.events import Compression, FileRef, Format

_TAR_MAGIC_AT = 257

MAGIC_BYTES = _TAR_MAGIC_AT + 5
"""How many first bytes of a file tell everything that is looked at here; less are looked at as far as they go."""

_FORMATS = {
    "ndjson": Format.NDJSON,
    "jsonl": Format.NDJSON,
    "json": Format.NDJSON,
    "csv": Format.CSV,
    "tsv": Format.TSV,
    "tab": Format.TSV,
    "parquet": Format.PARQUET,
    "pq": Format.PARQUET,
}
_COMPRESSIONS = {"gz": Compression.GZIP, "gzip": Compression.GZIP, "zst": Compression.ZSTD, "zstd": Compression.ZSTD}
_ZIP, _TAR = "zip", "tar"
_ARCHIVES = {"zip": _ZIP, "tar": _TAR, "tgz": _TAR}


@dataclass(frozen=True)
class FileKind:
    """How the bytes of a file are to be read."""

    format: Format
    compression: Compression = Compression.NONE


@dataclass(frozen=True)
class Refusal:
    """Why a file is not read: a slug, one sentence, and what its owner can do. It never quotes the file."""

    code: str
    message: str
    advice: str


def kind_of(file: FileRef) -> FileKind | Refusal:
    """What *file* is said to be. A key without a telling ending is plain NDJSON: what was delivered before formats."""
    endings = file.key.rsplit("/", 1)[-1].lower().split(".")[1:]
    if endings and endings[-1] in _ARCHIVES and file.format is None:
        return _archive(_ARCHIVES[endings[-1]])
    by_key_compression = _COMPRESSIONS.get(endings[-1]) if endings else None
    if by_key_compression is not None:
        endings = endings[:-1]
    if _TAR in endings[-1:] and file.format is None:
        return _archive(_TAR)
    by_key_format = _FORMATS.get(endings[-1]) if endings else None
    format_ = file.format or by_key_format or Format.NDJSON
    compression = file.compression or by_key_compression or Compression.NONE
    if format_ is Format.PARQUET and compression is not Compression.NONE:
        return Refusal(
            "compressed_parquet",
            f"a Parquet file is not to be wrapped in {compression}",
            "write it without; Parquet compresses its columns itself",
        )
    return FileKind(format_, compression)


def contradiction(kind: FileKind, head: bytes) -> Refusal | None:
    """Why the first bytes of a file are not those of its kind; of a compressed file, the first compressed ones.

    Text has no magic: of it is only said that it does not begin like something else.
    """
    found = _signature(head)
    if found in (_ZIP, _TAR):
        return _archive(found)
    expected = kind.compression if kind.compression is not Compression.NONE else kind.format
    if found is None:
        if expected in (Compression.GZIP, Compression.ZSTD, Format.PARQUET):
            return _other(expected, "does not begin like it")
        return None
    return None if found == expected else _other(expected, f"begins like {found}")


def text_contradiction(head: bytes) -> Refusal | None:
    """Why the first decoded bytes of a text file are not text: packed twice, an archive, another encoding."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Refusal(
            "not_utf8", "the file is UTF-16, as some spreadsheets export it", "export or convert it as UTF-8"
        )
    found = _signature(head)
    if found is None:
        return None
    if found in (_ZIP, _TAR):
        return _archive(found)
    return Refusal(
        "packed_twice",
        f"what the file decodes to begins like {found}, not like text",
        "compress the file once, and name what is inside",
    )


def _signature(head: bytes) -> str | None:
    if head.startswith(b"\x1f\x8b"):
        return Compression.GZIP.value
    # A zstd file may begin with a skippable frame, which has sixteen magics.
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return Compression.ZSTD.value
    if head.startswith(b"PAR1"):
        return Format.PARQUET.value
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return _ZIP
    if head[_TAR_MAGIC_AT:MAGIC_BYTES] == b"ustar":
        return _TAR
    return None


def _other(expected: str, found: str) -> Refusal:
    return Refusal(
        "format_contradicts_content",
        f"the file is said to be {expected} and {found}",
        "name the format and compression of the file in the delivery, or give its key the right ending",
    )


def _archive(kind: str) -> Refusal:
    return Refusal(
        "archive",
        f"the file is a {kind} archive, which may hold anything",
        "unpack it and deliver the files in it; compress each with gzip or zstd if need be",
    )
