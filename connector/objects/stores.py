"""The configured stores by name."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import assert_never

from connector.objects.config import FolderStore, S3Store, StoreConfigs
from connector.objects.errors import UnknownStore
from connector.objects.folder import FolderObjects
from connector.objects.store import ObjectStore


class Stores:
    """Looks a store up by the name an event gives."""

    def __init__(self, stores: Mapping[str, ObjectStore]) -> None:
        self._stores = dict(stores)

    def get(self, name: str) -> ObjectStore:
        """The store called *name*.

        Raises:
            UnknownStore: There is none; the text names those there are.
        """
        try:
            return self._stores[name]
        except KeyError:
            known = ", ".join(sorted(self._stores)) or "none"
            raise UnknownStore(f"store {name!r} is not configured here; configured: {known}") from None


@asynccontextmanager
async def open_stores(configs: StoreConfigs) -> AsyncIterator[Stores]:
    """Opens every configured store. Nothing is asked of them yet: a bucket that is down stops no process."""
    async with AsyncExitStack() as stack:
        stores: dict[str, ObjectStore] = {}
        for name, config in configs.items():
            match config:
                case FolderStore():
                    stores[name] = FolderObjects(config.root)
                case S3Store():
                    from connector.objects.s3 import open_s3  # noqa: PLC0415 -- 20 MiB, for those who have a bucket

                    stores[name] = await stack.enter_async_context(open_s3(config))
                case _:
                    assert_never(config)
        yield Stores(stores)
