"""One promise for every object store: the same tests on a folder and on S3 over HTTP."""

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from http.client import HTTPConnection
from pathlib import Path
from typing import cast

import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from connector.objects.config import FolderStore, S3Store, StoreConfig
from connector.objects.errors import (
    InvalidKey,
    ObjectChanged,
    ObjectMissing,
    ObjectTruncated,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    UnknownStore,
)
from connector.objects.store import BLOCK_BYTES, MAX_RANGE_BYTES, ObjectStore
from connector.objects.stores import Stores, open_stores

BUCKET = "deliveries"
Put = Callable[[str, bytes], object]


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    connection = HTTPConnection(host, port, timeout=10)
    connection.request("PUT", f"/{BUCKET}")
    assert 200 == connection.getresponse().status
    connection.close()
    yield url
    server.stop()


def s3(url: str, *, bucket: str = BUCKET, attempts: int = 2) -> S3Store:
    return S3Store(
        bucket=bucket,
        endpoint_url=url,
        access_key_id="test",
        secret_access_key=SecretStr("test"),
        prefix="in/",
        connect_timeout=1,
        read_timeout=10,
        attempts=attempts,
    )


@pytest.fixture(params=["folder", "s3"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    config: StoreConfig
    if request.param == "folder":
        (tmp_path / "root").mkdir()
        config = FolderStore(root=tmp_path / "root")
    else:
        config = s3(cast("str", request.getfixturevalue("s3_url")))
    async with open_stores({"files": config}) as opened:
        yield opened


@pytest.fixture
def store(stores: Stores) -> ObjectStore:
    return stores.get("files")


async def put(store: ObjectStore, tmp_path: Path, key: str, content: bytes) -> str:
    """Puts *content* and returns its etag."""
    source = tmp_path / "source"
    source.write_bytes(content)
    return (await store.put_file(key, source)).etag


async def everything(store: ObjectStore, key: str, *, start: int = 0, etag: str | None = None) -> bytes:
    async with aclosing(store.read(key, start=start, etag=etag)) as blocks:
        return b"".join([block async for block in blocks])


class TestReading:
    async def test_head_tells_size_and_an_etag_that_stays(self, store: ObjectStore, tmp_path: Path) -> None:
        """Two looks at an unchanged object give the same size and etag, and the etag carries no quotes."""
        await put(store, tmp_path, "a/people.ndjson", b"12345")
        first = await store.head("a/people.ndjson")
        assert (5, first) == (first.size, await store.head("a/people.ndjson"))
        assert '"' not in first.etag

    async def test_range_is_exact(self, store: ObjectStore, tmp_path: Path) -> None:
        """A range gives the bytes from its start to before its end."""
        etag = await put(store, tmp_path, "digits", b"0123456789")
        assert b"234" == await store.read_range("digits", 2, 5, etag)
        assert b"0" == await store.read_range("digits", 0, 1, etag)
        assert b"9" == await store.read_range("digits", 9, 10, etag)

    async def test_range_is_bounded(self, store: ObjectStore) -> None:
        """A range that would not fit into memory, or is none, is refused before the store is asked."""
        for start, end in ((0, MAX_RANGE_BYTES + 1), (5, 5), (5, 4)):
            with pytest.raises(ValueError, match="range"):
                await store.read_range("digits", start, end, "etag")

    async def test_reading_on_from_an_offset(self, store: ObjectStore, tmp_path: Path) -> None:
        """Reading from an offset gives the rest; from the very end it gives nothing."""
        etag = await put(store, tmp_path, "digits", b"0123456789")
        assert b"789" == await everything(store, "digits", start=7, etag=etag)
        assert b"" == await everything(store, "digits", start=10, etag=etag)

    async def test_empty_object(self, store: ObjectStore, tmp_path: Path) -> None:
        """An empty object is an object: it has a head, and reading it gives nothing."""
        etag = await put(store, tmp_path, "empty", b"")
        assert 0 == (await store.head("empty")).size
        assert b"" == await everything(store, "empty", etag=etag)
        with pytest.raises(ObjectTruncated):
            await store.read_range("empty", 0, 1, etag)

    async def test_streams_large_objects_in_blocks(self, store: ObjectStore, tmp_path: Path) -> None:
        """An object above 8 MiB (one part of an upload) comes back whole, in blocks of at most 1 MiB."""
        content = hashlib.shake_128(b"seed").digest(9 << 20)
        etag = await put(store, tmp_path, "large", content)
        digest, largest, size = hashlib.sha256(), 0, 0
        async for block in store.read("large", etag=etag):
            digest.update(block)
            largest, size = max(largest, len(block)), size + len(block)
        assert (len(content), hashlib.sha256(content).digest()) == (size, digest.digest())
        assert largest <= BLOCK_BYTES

    async def test_reading_may_be_abandoned(self, store: ObjectStore, tmp_path: Path) -> None:
        """A reader that stops early leaves the store usable: nothing it holds is exhausted by doing so often."""
        etag = await put(store, tmp_path, "large", bytes(3 << 20))
        for _ in range(40):
            async with aclosing(store.read("large", etag=etag)) as blocks:
                assert await anext(blocks)
        assert b"\0" == await store.read_range("large", 7, 8, etag)


class TestWhatIsNotThere:
    async def test_missing(self, store: ObjectStore) -> None:
        """A key nothing lies under is missing, for head, read and range alike."""
        for call in (store.head("no/such"), everything(store, "no/such"), store.read_range("no/such", 0, 1, "x")):
            with pytest.raises(ObjectMissing, match="no/such"):
                await call

    async def test_truncated(self, store: ObjectStore, tmp_path: Path) -> None:
        """A range that reaches past the end is an error, never a shorter answer; so is reading from past the end."""
        etag = await put(store, tmp_path, "digits", b"0123456789")
        for call in (
            store.read_range("digits", 8, 11, etag),
            store.read_range("digits", 20, 30, etag),
            everything(store, "digits", start=11, etag=etag),
        ):
            with pytest.raises(ObjectTruncated):
                await call

    async def test_unknown_store_names_the_known(self, stores: Stores) -> None:
        """Asking for a store that is not configured names those that are."""
        with pytest.raises(UnknownStore, match=r"'elsewhere'.*configured: files"):
            stores.get("elsewhere")

    @pytest.mark.parametrize(
        "key",
        ["", "/etc/hostname", "../secret", "a/../../b", "a//b", "a/", "./a", "a\0b", "a\nb", "\ud800", "k" * 1025],
    )
    async def test_refuses_what_is_no_key(self, store: ObjectStore, tmp_path: Path, key: str) -> None:
        """A key that could mean anything but one object below the root opens nothing."""
        (tmp_path / "secret").write_bytes(b"secret")
        for call in (store.head(key), everything(store, key), store.put_file(key, tmp_path / "secret")):
            with pytest.raises(InvalidKey):
                await call


class TestVersions:
    async def test_changed_between_head_and_read(self, store: ObjectStore, tmp_path: Path) -> None:
        """An object replaced after it was planned is refused, by range, by stream and at its end."""
        planned = await put(store, tmp_path, "people", b"first version")
        changed = await put(store, tmp_path, "people", b"other version")
        assert planned != changed
        for call in (
            store.read_range("people", 0, 5, planned),
            everything(store, "people", etag=planned),
            everything(store, "people", start=13, etag=planned),
        ):
            with pytest.raises(ObjectChanged):
                await call
        assert b"other" == await store.read_range("people", 0, 5, changed)

    async def test_quotes_around_an_etag_do_not_matter(self, store: ObjectStore, tmp_path: Path) -> None:
        """Upstream may write the etag as HTTP does, with quotes."""
        etag = await put(store, tmp_path, "people", b"content")
        assert b"content" == await store.read_range("people", 0, 7, f'"{etag}"')


class TestFolder:
    async def test_written_to_while_read(self, tmp_path: Path) -> None:
        """A file that grows while it is streamed is refused at the next block: a file is one version or none."""
        (tmp_path / "people").write_bytes(bytes(3 * BLOCK_BYTES))
        async with (
            open_stores({"files": FolderStore(root=tmp_path)}) as stores,
            aclosing(stores.get("files").read("people")) as blocks,
        ):
            assert await anext(blocks)
            with (tmp_path / "people").open("ab") as file:
                file.write(b"more")
            with pytest.raises(ObjectChanged):
                await anext(blocks)

    async def test_no_link_leads_out(self, tmp_path: Path) -> None:
        """A symbolic link below the root is never followed, neither as a file nor as a folder on the way."""
        (tmp_path / "root").mkdir()
        (tmp_path / "secret").write_bytes(b"secret")
        (tmp_path / "root" / "file").symlink_to(tmp_path / "secret")
        (tmp_path / "root" / "folder").symlink_to(tmp_path)
        async with open_stores({"files": FolderStore(root=tmp_path / "root")}) as stores:
            store = stores.get("files")
            for key in ("file", "folder/secret"):
                with pytest.raises(StoreError):
                    await everything(store, key)
            with pytest.raises(StoreError):
                await store.put_file("folder/new", tmp_path / "secret")
        assert not (tmp_path / "new").exists()

    async def test_put_leaves_nothing_beside(self, tmp_path: Path) -> None:
        """A put makes the folders it needs and leaves exactly its object, also when it replaces one."""
        source = tmp_path / "source"
        source.write_bytes(b"content")
        async with open_stores({"files": FolderStore(root=tmp_path / "root")}) as stores:
            (tmp_path / "root").mkdir()
            for _ in range(2):
                await stores.get("files").put_file("a/b/people", source)
        assert [tmp_path / "root/a/b/people"] == [p for p in (tmp_path / "root").rglob("*") if p.is_file()]

    async def test_only_regular_files_are_objects(self, tmp_path: Path) -> None:
        """A folder or a FIFO is no object, and looking at one does not hang."""
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "fifo")
        async with open_stores({"files": FolderStore(root=tmp_path)}) as stores:
            for key in ("folder", "fifo", "folder/none", "fifo/none"):
                with pytest.raises(ObjectMissing):
                    await asyncio.wait_for(stores.get("files").head(key), 5)


class TestS3:
    async def test_endpoint_down(self) -> None:
        """A store that cannot be reached is unavailable, and says so within its bound."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            url = "http://{}:{}".format(*listener.getsockname())
            async with open_stores({"files": s3(url)}) as stores, asyncio.timeout(20):
                with pytest.raises(StoreUnavailable) as caught:
                    await stores.get("files").head("people")
        assert caught.value.retryable

    async def test_endpoint_silent(self) -> None:
        """A store that accepts the connection and never answers is unavailable after the read time-out."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = "http://{}:{}".format(*listener.getsockname())
            config = s3(url, attempts=1).model_copy(update={"read_timeout": 0.3})
            async with open_stores({"files": config}) as stores, asyncio.timeout(20):
                with pytest.raises(StoreUnavailable):
                    await everything(stores.get("files"), "people")

    @pytest.mark.parametrize("sent", [b"01234", b""])
    async def test_connection_cut_in_the_middle(self, sent: bytes) -> None:
        """An answer that ends before its stated length is to be tried again, never taken as whole."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b'HTTP/1.1 206 Partial\r\nETag: "e"\r\nContent-Length: 10\r\n\r\n' + sent)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = "http://{}:{}".format(*server.sockets[0].getsockname())
        async with server, open_stores({"files": s3(url)}) as stores, asyncio.timeout(20):
            with pytest.raises(StoreUnavailable):
                await stores.get("files").read_range("people", 0, 10, "e")

    async def test_range_ignored_by_the_server(self) -> None:
        """A server that answers a range with another number of bytes is not believed."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 10\r\n\r\n0123456789')
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = "http://{}:{}".format(*server.sockets[0].getsockname())
        async with server, open_stores({"files": s3(url)}) as stores, asyncio.timeout(20):
            with pytest.raises(ObjectTruncated):
                await stores.get("files").read_range("people", 2, 5, "e")

    async def test_bucket_that_does_not_exist(self, s3_url: str) -> None:
        """A wrong bucket is for a person to correct, not a missing object and not worth a retry."""
        async with open_stores({"files": s3(s3_url, bucket="no-such-bucket")}) as stores:
            with pytest.raises(StoreRefused) as caught:
                await everything(stores.get("files"), "people")
        assert not caught.value.retryable

    async def test_stores_do_not_see_each_others_prefix(self, s3_url: str, tmp_path: Path) -> None:
        """Two stores in one bucket with different prefixes hold different objects under the same key."""
        other = s3(s3_url).model_copy(update={"prefix": "elsewhere/"})
        async with open_stores({"one": s3(s3_url), "two": other}) as stores:
            await put(stores.get("one"), tmp_path, "prefixed", b"one")
            with pytest.raises(ObjectMissing):
                await stores.get("two").head("prefixed")
