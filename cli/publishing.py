"""From files on this machine to a delivery: into a configured store, then to ingest by reference."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from pydantic import TypeAdapter

from cli.services import Refused, Service, Unavailable, auth, ingest
from connector.objects.config import StoreConfig
from connector.objects.errors import ObjectMissing, StoreError
from connector.objects.store import ObjectInfo, ObjectStore
from connector.objects.stores import open_stores
from schemas.events import Compression, Format
from schemas.match_keys import ColumnMapping

CONNECTIONS = UUID("3d2b0a5e-93f6-5c0e-8a64-1f0b7c6f4e55")
"""Namespace of the connections this command invents: the same profile and audience is the same connection again."""


@dataclass(frozen=True)
class Request:
    """What to publish, in the command's own terms."""

    files: tuple[Path, ...]
    profile: str
    audience_name: str | None
    audience_id: str | None
    operation: str
    layout: str
    revision: int
    store: str
    mapping: ColumnMapping | None = None
    format: Format | None = None
    compression: Compression | None = None


async def publish_files(request: Request, variables: Mapping[str, str]) -> dict[str, Any]:
    """Puts the files where ingest can read them and publishes the delivery; the answer of ingest."""
    profile = await profile_named(auth(variables), request.profile)
    references = await _stored(request, variables)
    event = delivery(request, profile, references)
    answer: dict[str, Any] = await ingest(variables).ask("POST", "/v1/deliveries", event)
    return {"revision": answer["revision"], "state": answer["state"]}


async def profile_named(service: Service, name: str) -> dict[str, Any]:
    """The one profile called *name*."""
    answer = await service.ask("GET", "/internal/v1/profiles", params={"name": name})
    records: list[dict[str, Any]] = answer["records"]
    if not records:
        raise Refused(404, "unknown_profile", f"no profile is called {name}", f"fbc dev seed --profile {name}")
    if len(records) > 1:
        companies = ", ".join(str(record["company_id"]) for record in records)
        raise Refused(409, "ambiguous_profile", f"{name} exists in the companies {companies}", "rename one")
    return records[0]


def delivery(request: Request, profile: Mapping[str, Any], files: list[dict[str, Any]]) -> dict[str, Any]:
    """The `DeliveryRequested` event of *request*; the same request again is the same content."""
    destination = request.audience_id or request.audience_name or "default"
    settings = {"audience_id": request.audience_id, "audience_name": request.audience_name}
    event = {
        "revision": request.revision,
        "kind": "snapshot-appended",
        "company_id": profile["company_id"],
        "profile_id": profile["id"],
        "connection_id": str(uuid5(CONNECTIONS, f"{profile['id']}/{destination}")),
        "operation": request.operation,
        "layout": request.layout,
        "quick_settings": {name: value for name, value in settings.items() if value is not None},
        "files": [{**file, **_kind(request)} for file in files],
    }
    if request.mapping is not None:
        event["mapping"] = request.mapping.model_dump(mode="json", exclude_none=True)
    return event


def _kind(request: Request) -> dict[str, str]:
    """What is said of the files; what is not, the endings of their names tell."""
    said = {"format": request.format, "compression": request.compression}
    return {name: value.value for name, value in said.items() if value is not None}


async def _stored(request: Request, variables: Mapping[str, str]) -> list[dict[str, Any]]:
    if "FBC_STORES" not in variables:
        raise Unavailable("no object store is configured: set FBC_STORES, or start `fbc dev up`")
    configured = TypeAdapter(dict[str, StoreConfig]).validate_json(variables["FBC_STORES"])
    if request.store in configured:  # the others cost time: a bucket's client takes 0.2 s to load
        configured = {request.store: configured[request.store]}
    try:
        async with open_stores(configured) as stores:
            store = stores.get(request.store)
            return [await _stored_file(store, request.store, path) for path in request.files]
    except StoreError as error:
        raise Refused(0, "store", f"the files could not be put into the store {request.store}: {error}", "") from None


async def _stored_file(store: ObjectStore, name: str, path: Path) -> dict[str, Any]:
    """Puts *path* under a key made of its content, so that publishing it again changes nothing that is being read."""
    digest = await asyncio.to_thread(_digest, path)
    key = f"published/{digest}{''.join(path.suffixes[-2:])[:32]}"
    found = await _present(store, key)
    if found is None:
        found = await store.put_file(key, path)
    return {"name": path.name, "store": name, "key": key, "bytes": found.size, "etag": found.etag}


async def _present(store: ObjectStore, key: str) -> ObjectInfo | None:
    try:
        return await store.head(key)
    except ObjectMissing:
        return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
