"""A bucket as an object store, through aiobotocore. One client per store, so connections are reused."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from connector.objects.config import S3Store
from connector.objects.errors import (
    ObjectChanged,
    ObjectMissing,
    ObjectTruncated,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from connector.objects.keys import check_key
from connector.objects.store import BLOCK_BYTES, ObjectInfo, check_range, read_range, unquoted

PART_BYTES = 8 << 20
"""Size of the parts of an upload: what one upload holds in memory (S3 allows 10,000 parts of at least 5 MiB)."""

MAX_PARTS = 10_000

_BY_CODE: dict[str, type[StoreError]] = {
    "NoSuchKey": ObjectMissing,
    "NotFound": ObjectMissing,
    "404": ObjectMissing,
    "NoSuchVersion": ObjectMissing,
    "PreconditionFailed": ObjectChanged,
    "412": ObjectChanged,
    "InvalidRange": ObjectTruncated,
    "416": ObjectTruncated,
    "NoSuchBucket": StoreRefused,
    "SlowDown": StoreUnavailable,
    "Throttling": StoreUnavailable,
    "ThrottlingException": StoreUnavailable,
    "RequestTimeout": StoreUnavailable,
    "RequestTimeTooSkewed": StoreUnavailable,
    "InternalError": StoreUnavailable,
    "ServiceUnavailable": StoreUnavailable,
    "429": StoreUnavailable,
}
"""S3's error codes (HEAD has no body, there the status is the code), as what the caller can do."""

_CANNOT_CHANGE_BY_WAITING = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "ParamValidationError",
    "InvalidRegionError",
    "UnauthorizedSSOTokenError",
    "TokenRetrievalError",
}


class S3Objects:
    """Objects of one bucket below one prefix."""

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    async def head(self, key: str) -> ObjectInfo:
        """Size and etag of an object."""
        with _translated(key):
            answer = await self._client.head_object(**self._address(key))
        return ObjectInfo(size=answer["ContentLength"], etag=unquoted(answer["ETag"]))

    async def read(
        self, key: str, *, start: int = 0, end: int | None = None, etag: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        """See `ObjectStore.read`. The version is pinned with `If-Match`: S3 refuses the read of any other."""
        check_range(start, end)
        try:
            with _translated(key):
                answer = await self._client.get_object(**self._address(key), **_conditions(start, end, etag))
        except ObjectTruncated:
            if end is None and await self._ends_at(key, start, etag):
                return
            raise
        promised = answer["ContentLength"] if end is None else end - start
        received = 0
        async with answer["Body"] as body:
            while True:
                with _translated(key):
                    block = await body.read(BLOCK_BYTES)
                if not block:
                    break
                received += len(block)
                yield block
        if received != promised:
            raise ObjectTruncated(f"{key!r} gave {received} bytes from {start}, {promised} were promised")

    async def read_range(self, key: str, start: int, end: int, etag: str) -> bytes:
        """See `ObjectStore.read_range`."""
        return await read_range(self, key, start, end, etag)

    async def put_file(self, key: str, path: Path) -> ObjectInfo:
        """Uploads *path* in parts; the object appears whole when the last part is in.

        The answer is what S3 holds afterwards, asked once more: an etag of parts is not known before.
        """
        address = self._address(key)
        with path.open("rb") as source, _translated(key):
            size = os.fstat(source.fileno()).st_size
            if size <= PART_BYTES:
                await self._client.put_object(**address, Body=await asyncio.to_thread(source.read))
            else:
                await self._put_parts(address, source, max(PART_BYTES, -(-size // MAX_PARTS)))
        return await self.head(key)

    async def _put_parts(self, address: dict[str, str], source: BinaryIO, part_bytes: int) -> None:
        upload = (await self._client.create_multipart_upload(**address))["UploadId"]
        try:
            parts: list[dict[str, Any]] = []
            while block := await asyncio.to_thread(source.read, part_bytes):
                number = len(parts) + 1
                answer = await self._client.upload_part(**address, UploadId=upload, PartNumber=number, Body=block)
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            await self._client.complete_multipart_upload(**address, UploadId=upload, MultipartUpload={"Parts": parts})
        except BaseException:
            # An upload that is not aborted is billed for ever. Shielded: a cancelled caller must not leave it behind.
            # What went wrong first is what is told, also when the abort fails as well.
            with suppress(ClientError, BotoCoreError, aiohttp.ClientError, TimeoutError):
                await asyncio.shield(self._client.abort_multipart_upload(**address, UploadId=upload))
            raise

    async def _ends_at(self, key: str, size: int, etag: str | None) -> bool:
        """Whether the object is exactly *size* bytes long: reading on from its end is an empty read, not an error.

        S3 answers 416 to a range that starts at the end, also for the empty object.
        """
        info = await self.head(key)
        if etag is not None and unquoted(etag) != info.etag:
            raise ObjectChanged(f"{key!r} is not the version that was planned")
        return info.size == size

    def _address(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + check_key(key)}


@asynccontextmanager
async def open_s3(config: S3Store) -> AsyncIterator[S3Objects]:
    """A client with time-outs and bounded retries, closed with its connections at the end."""
    secret = config.secret_access_key
    arguments: dict[str, Any] = {
        "region_name": config.region,
        "endpoint_url": config.endpoint_url,
        "aws_access_key_id": config.access_key_id,
        "aws_secret_access_key": secret.get_secret_value() if secret is not None else None,
        "config": AioConfig(
            connect_timeout=config.connect_timeout,
            read_timeout=config.read_timeout,
            max_pool_connections=config.connections,
            retries={"mode": "standard", "total_max_attempts": config.attempts},
            # A ranged read has no checksum to validate, and servers that speak S3 know no trailing checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if config.endpoint_url else "auto"},
        ),
    }
    async with get_session().create_client("s3", **arguments) as client:
        yield S3Objects(client, config.bucket, config.prefix)


def _conditions(start: int, end: int | None, etag: str | None) -> dict[str, str]:
    """Range and version as S3's arguments. The whole object is asked for without a range: an empty one has none."""
    conditions = {}
    if end is not None:
        conditions["Range"] = f"bytes={start}-{end - 1}"
    elif start > 0:
        conditions["Range"] = f"bytes={start}-"
    if etag is not None:
        conditions["IfMatch"] = f'"{unquoted(etag)}"'
    return conditions


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        answer = error.response
        code = str(answer.get("Error", {}).get("Code", ""))
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise _kind(code, status)(f"{key!r}: the store answered {status} {code}") from error
    except BotoCoreError as error:
        name = type(error).__name__
        kind = StoreRefused if name in _CANNOT_CHANGE_BY_WAITING else StoreUnavailable
        raise kind(f"{key!r}: {name} while talking to the store") from error
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise StoreUnavailable(f"{key!r}: {type(error).__name__} while talking to the store") from error


def _kind(code: str, status: int) -> type[StoreError]:
    """The error for an answer; one nobody knows is never taken for a missing object."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    return StoreUnavailable if status >= 500 or status == 0 else StoreRefused
