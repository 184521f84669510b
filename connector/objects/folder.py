"""A folder as an object store. Blocking calls run in threads; every symbolic link below the root is refused."""

import asyncio
import errno
import os
import secrets
import shutil
import stat
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from connector.objects.errors import (
    InvalidKey,
    ObjectChanged,
    ObjectMissing,
    ObjectTruncated,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from connector.objects.keys import check_key
from connector.objects.store import BLOCK_BYTES, ObjectInfo, check_range, read_range, unquoted

_ERRORS: dict[int, type[StoreError]] = {
    errno.ENOENT: ObjectMissing,
    errno.ENOTDIR: ObjectMissing,
    errno.EISDIR: ObjectMissing,
    errno.ELOOP: InvalidKey,
    errno.ENAMETOOLONG: InvalidKey,
    errno.EACCES: StoreRefused,
    errno.EPERM: StoreRefused,
    errno.EROFS: StoreRefused,
}
"""What the operating system says, as what the caller can do. Anything else (EIO, EMFILE, ENOSPC...) may pass."""

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO somebody put there must not hang a thread for ever.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FolderObjects:
    """Objects are the regular files below `root`; a key is the path to one.

    The etag is made of modification time, size and inode, read from the opened descriptor: writing to the file in
    place and replacing it both change it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    async def head(self, key: str) -> ObjectInfo:
        """Size and etag of a file."""
        return await asyncio.to_thread(self._head, check_key(key))

    async def read(
        self, key: str, *, start: int = 0, end: int | None = None, etag: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        """See `ObjectStore.read`. The etag is checked before the first byte and after every block."""
        check_range(start, end)
        descriptor, info = await asyncio.to_thread(self._open, check_key(key))
        try:
            if etag is not None and unquoted(etag) != info.etag:
                raise ObjectChanged(f"{key!r} is not the version that was planned")
            stop = info.size if end is None else end
            if max(stop, start) > info.size:
                raise ObjectTruncated(f"{key!r} holds {info.size} bytes, {max(stop, start)} were promised")
            while start < stop:
                block = await asyncio.to_thread(_read_block, key, descriptor, start, stop, info)
                start += len(block)
                yield block
        finally:
            os.close(descriptor)

    async def read_range(self, key: str, start: int, end: int, etag: str) -> bytes:
        """See `ObjectStore.read_range`."""
        return await read_range(self, key, start, end, etag)

    async def put_file(self, key: str, path: Path) -> ObjectInfo:
        """Copies *path* beside its destination, then renames: no reader ever sees half a file."""
        return await asyncio.to_thread(self._put, check_key(key), path)

    def _head(self, key: str) -> ObjectInfo:
        descriptor, info = self._open(key)
        os.close(descriptor)
        return info

    def _open(self, key: str) -> tuple[int, ObjectInfo]:
        """Opens a regular file without following any link below the root."""
        *folders, name = key.split("/")
        with _translated(key), self._folder(folders, os.open) as folder:
            descriptor = os.open(name, _FILE_FLAGS, dir_fd=folder)
        try:
            return descriptor, _info(key, descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def _put(self, key: str, path: Path) -> ObjectInfo:
        *folders, name = key.split("/")
        temporary = f".put-{secrets.token_hex(8)}"
        with path.open("rb") as source, _translated(key), self._folder(folders, _make_and_open) as folder:
            try:
                with os.fdopen(os.open(temporary, _NEW_FILE_FLAGS, 0o644, dir_fd=folder), "wb") as target:
                    shutil.copyfileobj(source, target, BLOCK_BYTES)
                    target.flush()
                    os.fsync(target.fileno())
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
        return self._head(key)

    @contextmanager
    def _folder(self, folders: list[str], opener: Callable[..., int]) -> Iterator[int]:
        """The descriptor of the folder a key lies in, reached step by step from the root."""
        current = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                inner = opener(folder, _FOLDER_FLAGS, dir_fd=current)
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)


def _make_and_open(name: str, flags: int, *, dir_fd: int) -> int:
    """`os.open` of a folder that may have to be made first."""
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=dir_fd)
    return os.open(name, flags, dir_fd=dir_fd)


def _info(key: str, descriptor: int) -> ObjectInfo:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ObjectMissing(f"{key!r} is not a file")
    return ObjectInfo(size=status.st_size, etag=f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}")


def _read_block(key: str, descriptor: int, start: int, stop: int, expected: ObjectInfo) -> bytes:
    """One block, proven to be of the expected version after it was read."""
    with _translated(key):
        block = os.pread(descriptor, min(BLOCK_BYTES, stop - start), start)
    if _info(key, descriptor) != expected:
        raise ObjectChanged(f"{key!r} was written to while it was read")
    if not block:
        raise ObjectTruncated(f"{key!r} ended at byte {start}, {stop} were promised")
    return block


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = _ERRORS.get(error.errno or 0, StoreUnavailable)
        raise kind(f"{key!r}: {os.strerror(error.errno or 0)}") from error
