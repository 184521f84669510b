"""The environment variables of each process of a stack. Pure.

One rule keeps least privilege honest: a name this stack grants to any process is taken from the caller's
environment for every process, so the uploader does not inherit a database password from somebody's shell. Names
the stack does not grant (tunables) pass through.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit, urlunsplit

from embedded.credentials import Credentials
from embedded.errors import WrongRequest
from embedded.objects import BUCKET, REGION
from embedded.ports import HOST

GRAPH_VERSION = "v26.0"

Process = Literal["auth", "ingest", "progress", "uploader", "cli", "database"]


@dataclass(frozen=True, slots=True)
class Application:
    """The app the services are towards the Graph API, as the emulator's `GET /seed` states it."""

    app_id: str
    app_secret: str


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything is. None: the stack has no such part, and the caller's own variables stay in force.

    Attributes:
        kafka: `host:port,…`.
        replication: Replicas per topic; None for somebody else's cluster.
        admin_dsn: A role of PostgreSQL that may make roles and schemas.
        s3_url: Endpoint of the object store beside the local folder.
        graph_url: The emulator's Graph side.
        graph_control_url: Its control side.
        auth_url: The auth service.
        ingest_url: The ingest service.
        objects: Root of the local object store.
    """

    kafka: str | None
    replication: int | None
    admin_dsn: str | None
    s3_url: str | None
    graph_url: str | None
    graph_control_url: str | None
    auth_url: str | None
    ingest_url: str | None
    objects: Path


class Environments:
    """Builds the environment of each process from the addresses and secrets of one stack.

    Args:
        addresses: Where everything is.
        credentials: Keys and passwords.
        application: The Graph application; None before the emulator is up, or without it.
    """

    def __init__(self, addresses: Addresses, credentials: Credentials, application: Application | None = None) -> None:
        self._at = addresses
        self._credentials = credentials
        self._application = application

    def of(self, process: Process, caller: Mapping[str, str], port: int | None = None) -> dict[str, str]:
        """The whole environment of a process.

        Args:
            process: What it is; `database` stands for the commands that prepare the database.
            caller: The environment `fbc dev up` was called in.
            port: Its HTTP port, if it listens.
        """
        own = self.settings(process)
        if port is not None:
            own |= {"FBC_HTTP__HOST": HOST, "FBC_HTTP__PORT": str(port)}
        return {name: value for name, value in caller.items() if name not in self._granted()} | own

    def settings(self, process: Process) -> dict[str, str]:
        """Only what this stack states for a process, without its HTTP port."""
        groups = {
            "auth": (self._identity("auth"), self._kafka(), self._database("auth"), self._graph(), self._secrets()),
            "ingest": (self._identity("ingest"), self._kafka(), self._database("ingest"), self._auth(), self._stores()),
            "progress": (self._identity("progress"), self._kafka(), self._database("ingest"), self._auth()),
            "uploader": (self._identity("uploader"), self._kafka(), self._auth(), self._stores(), self._graph()),
            "cli": (
                self._identity("cli"),
                self._kafka(),
                self._administration(),
                self._auth(),
                self._ingest(),
                self._stores(),
                self._graph(),
                self._emulator(),
            ),
            "database": (self._administration(),),
        }[process]
        merged = {"FBC_STAGE": "dev", "FBC_LOG__FORMAT": "json"}
        for group in groups:
            merged |= {name: value for name, value in group.items() if value is not None}
        return merged

    def _granted(self) -> frozenset[str]:
        every: tuple[Process, ...] = ("auth", "ingest", "progress", "uploader", "cli", "database")
        granted = {name for process in every for name in self.settings(process)}
        database = {"FBC_DATABASE__DSN"} if self._at.admin_dsn is not None else set()
        return frozenset(granted | database | {"FBC_HTTP__HOST", "FBC_HTTP__PORT"})

    def _identity(self, service: str) -> dict[str, str | None]:
        return {
            "FBC_IDENTITY__SERVICE": service,
            "FBC_IDENTITY__KEY_FILE": str(self._credentials.identity(service)),
            "FBC_IDENTITY__TRUSTED_FILE": str(self._credentials.trusted),
        }

    def _kafka(self) -> dict[str, str | None]:
        replication = None if self._at.replication is None else str(self._at.replication)
        return {"FBC_KAFKA__BOOTSTRAP": self._at.kafka, "FBC_KAFKA__REPLICATION": replication}

    def _database(self, owner: Literal["auth", "ingest"]) -> dict[str, str | None]:
        return {"FBC_DATABASE__DSN": self._dsn(owner)}

    def _administration(self) -> dict[str, str | None]:
        return {
            "FBC_DATABASE__ADMIN_DSN": self._at.admin_dsn,
            "FBC_DATABASE__INGEST_DSN": self._dsn("ingest"),
            "FBC_DATABASE__AUTH_DSN": self._dsn("auth"),
        }

    def _dsn(self, owner: Literal["auth", "ingest"]) -> str | None:
        if self._at.admin_dsn is None:
            return None
        role = f"fbc_{owner}"
        return as_role(self._at.admin_dsn, role, self._credentials.passwords[role])

    def _auth(self) -> dict[str, str | None]:
        return {"FBC_AUTH__URL": self._at.auth_url}

    def _ingest(self) -> dict[str, str | None]:
        return {"FBC_INGEST__URL": self._at.ingest_url}

    def _graph(self) -> dict[str, str | None]:
        version = None if self._at.graph_url is None else GRAPH_VERSION
        return {"FBC_GRAPH__URL": self._at.graph_url, "FBC_GRAPH__VERSION": version}

    def _emulator(self) -> dict[str, str | None]:
        return {"FBC_EMULATOR__URL": self._at.graph_url, "FBC_EMULATOR__CONTROL_URL": self._at.graph_control_url}

    def _secrets(self) -> dict[str, str | None]:
        """What only auth may know: the vault's keys and the app secret."""
        application = self._application
        return {
            "FBC_VAULT__KEY_FILE": str(self._credentials.vault_keys),
            "FBC_GRAPH__APP_ID": None if application is None else application.app_id,
            "FBC_GRAPH__APP_SECRET": None if application is None else application.app_secret,
        }

    def _stores(self) -> dict[str, str | None]:
        return {"FBC_STORES": json.dumps(stores(self._at.objects, self._at.s3_url))}


def stores(root: Path, s3_url: str | None) -> dict[str, dict[str, str]]:
    """The configured object stores: the local folder, and S3 if the stack has it."""
    local = {"local": {"kind": "folder", "root": str(root)}}
    if s3_url is None:
        return local
    return local | {
        "s3": {
            "kind": "s3",
            "bucket": BUCKET,
            "endpoint_url": s3_url,
            "region": REGION,
            "access_key_id": "test",
            "secret_access_key": "test",
        }
    }


def as_role(dsn: str, role: str, password: str) -> str:
    """The same database as another role.

    Raises:
        WrongRequest: The DSN is not a URL with a host.
    """
    parts = urlsplit(dsn)
    if parts.scheme not in {"postgresql", "postgres"} or not parts.hostname:
        raise WrongRequest("--postgres needs a URL: postgresql://user:password@host:port/database")
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(password, safe='')}@{address}"))
