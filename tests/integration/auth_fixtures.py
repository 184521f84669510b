"""Fixtures of the tests of auth: a real database, the emulator and auth itself, as processes.

A plugin: a test module says `pytest_plugins = ("tests.integration.auth_fixtures",)`.
"""

import base64
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from connector.database.migrations import Migrations
from connector.database.provision import ServiceRole, provision
from embedded.ports import free_ports
from embedded.postgres import Postgres
from tests.integration.auth_parts import (
    MIGRATIONS,
    Auth,
    Databases,
    Emulator,
    RunAuth,
    running,
    wait_ready,
    write_identities,
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def auth_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SecretStr]:
    """A PostgreSQL with nothing in it: the administrator's DSN."""
    async with Postgres(tmp_path_factory.mktemp("auth-db")) as server:
        yield SecretStr(server.dsn)


@pytest.fixture(scope="session")
def auth_database(auth_server: SecretStr) -> Databases:
    """The roles and schemas of both services, and auth's tables."""
    databases = Databases(auth_server, *(role_dsn(auth_server, role, "fbc") for role in ("fbc_auth", "fbc_ingest")))
    roles = [ServiceRole.of(databases.auth, "auth"), ServiceRole.of(databases.ingest, "ingest")]
    provision(databases.admin, roles)
    Migrations("auth", MIGRATIONS).upgrade(databases.auth)
    return databases


def role_dsn(admin: SecretStr, role: str, database: str) -> SecretStr:
    """A DSN for *role* with a password of its own."""
    url = make_url(admin.get_secret_value()).set(username=role, password=secrets.token_hex(8), database=database)
    return SecretStr(url.render_as_string(hide_password=False))


@pytest.fixture(scope="session")
def auth_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The Graph API emulator."""
    log = tmp_path_factory.mktemp("emulator") / "emulator.log"
    with running(["emulator", "--keep", "counts"], log, {}) as child:
        assert child.stdout is not None
        ready = json.loads(child.stdout.readline() or b"{}")
        assert ready, log.read_text()
        found = Emulator(ready["graph"], ready["control"])
        found.seed = found.tell("GET", "/seed")
        yield found


@pytest.fixture(scope="session")
def auth_secrets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Ed25519PrivateKey]]:
    """A folder with the identities and the vault's key file."""
    folder = tmp_path_factory.mktemp("auth-secrets")
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    (folder / "vault-keys.json").write_text(json.dumps({"keys": [{"id": "test-1", "key": key}]}))
    return folder, write_identities(folder)


@pytest.fixture(scope="session")
def run_auth(
    tmp_path_factory: pytest.TempPathFactory,
    auth_database: Databases,
    auth_emulator: Emulator,
    auth_secrets: tuple[Path, dict[str, Ed25519PrivateKey]],
) -> RunAuth:
    """Starts auth as a process, ready when the block begins."""
    folder, _ = auth_secrets

    @contextmanager
    def run(**more: str) -> Iterator[tuple[str, Path]]:
        port, nobody = free_ports(2)
        url = f"http://127.0.0.1:{port}"
        log = tmp_path_factory.mktemp("auth") / "auth.log"
        environment = {
            "FBC_STAGE": "test",
            "FBC_LOG__LEVEL": "debug",
            "FBC_HTTP__PORT": str(port),
            "FBC_DATABASE__DSN": auth_database.auth.get_secret_value(),
            "FBC_KAFKA__BOOTSTRAP": f"127.0.0.1:{nobody}",
            "FBC_GRAPH__URL": auth_emulator.graph,
            "FBC_GRAPH__APP_ID": auth_emulator.seed["app_id"],
            "FBC_GRAPH__APP_SECRET": auth_emulator.seed["app_secret"],
            "FBC_GRAPH__TOTAL_TIMEOUT": "5",
            "FBC_VAULT__KEY_FILE": str(folder / "vault-keys.json"),
            "FBC_IDENTITY__SERVICE": "auth",
            "FBC_IDENTITY__KEY_FILE": str(folder / "auth.pem"),
            "FBC_IDENTITY__TRUSTED_FILE": str(folder / "trusted.json"),
            "FBC_DESTINATIONS__SETTLE": "0.2",
            **more,
        }
        with running(["services.auth"], log, environment) as child:
            wait_ready(f"{url}/health/ready", child, log)
            yield url, log

    return run


@pytest.fixture(scope="session")
def auth_process(run_auth: RunAuth) -> Iterator[tuple[str, Path]]:
    """One auth for all tests, whose broker is unreachable: nothing it answers may depend on Kafka."""
    with run_auth() as process:
        yield process


@pytest.fixture
async def auth(
    auth_process: tuple[str, Path], auth_secrets: tuple[Path, dict[str, Ed25519PrivateKey]]
) -> AsyncIterator[Auth]:
    """Auth as a client sees it."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield Auth(auth_process[0], auth_secrets[1], auth_process[1], session)
