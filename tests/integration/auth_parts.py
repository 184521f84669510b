"""What the tests of auth work with: the emulator and auth as processes, asked over HTTP as others would."""

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import SecretStr

from connector.runtime.identity import ServiceSigner

RunAuth = Callable[..., AbstractContextManager[tuple[str, Path]]]
"""Starts auth with more variables: `with run_auth(FBC_…="…") as (url, log)`."""

MIGRATIONS = Path(__file__).parents[2] / "services" / "auth" / "migrations"
CALLERS = ("cli", "ingest", "uploader", "progress", "auth")
START_SECONDS = 20


@dataclass(frozen=True)
class Databases:
    """DSNs of a server: the administrator's, and those of the two services."""

    admin: SecretStr
    auth: SecretStr
    ingest: SecretStr


@dataclass(frozen=True)
class Answer:
    """An answer of auth."""

    status: int
    headers: Mapping[str, str]
    json: Any

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.json["error"]["code"])


@dataclass
class Emulator:
    """The Graph API emulator: its two sides, and what it accepts."""

    graph: str
    control: str
    seed: dict[str, Any] = field(default_factory=dict)

    def tell(self, method: str, path: str, body: object = None) -> Any:
        """One request to the control side."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.control + path, data=data, method=method)  # noqa: S310 -- loopback
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 -- loopback
            return json.loads(answer.read())

    def account(self, **wanted: object) -> str:
        """A new ad account of the seed's user."""
        return str(self.tell("POST", "/accounts", wanted)["id"])

    def token(self, **wanted: object) -> str:
        """A new token of the seed's user."""
        return str(self.tell("POST", "/tokens", wanted)["token"])

    def kill(self, token: str, subcode: int) -> None:
        """Lets *token* answer 190 from now on."""
        self.tell("DELETE", f"/tokens/{hashlib.sha256(token.encode()).hexdigest()[:12]}", {"subcode": subcode})

    def fail(self, answer: dict[str, object], **match: object) -> int:
        """Scripts the next call that matches to fail."""
        return int(self.tell("POST", "/faults", {"match": match, "times": 1, "answer": answer})["id"])

    def calls(self, account: str, method: str, path: str) -> list[dict[str, Any]]:
        """The calls that concerned *account*."""
        number = account.removeprefix("act_")
        return [
            call
            for call in self.tell("GET", "/calls")
            if str(call["account"]).removeprefix("act_") == number
            and call["method"] == method
            and call["path"].endswith(path)
        ]

    def audiences(self, account: str) -> list[dict[str, Any]]:
        """The audiences of *account*."""
        return [one for one in self.tell("GET", "/audiences") if one["account"] == account]


@dataclass
class Auth:
    """A running auth, and the identities it trusts."""

    url: str
    keys: dict[str, Ed25519PrivateKey]
    log: Path
    session: aiohttp.ClientSession

    async def ask(
        self, caller: str, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request in the name of *caller* (or with *headers* instead)."""
        if headers is None:
            headers = ServiceSigner(caller, self.keys[caller]).headers("auth")
        async with self.session.request(method, self.url + path, json=body, headers=headers) as answer:
            return Answer(answer.status, answer.headers, await answer.json())

    async def connect(self, account: str, token: str, **more: object) -> Answer:
        """Connects a profile (of a company of its own, unless told)."""
        body = {
            "company_id": uuid4().int % 2**40,
            "name": "main",
            "ad_account_id": account,
            "token": token,
            "customer_file_source": "USER_PROVIDED_ONLY",
            **more,
        }
        return await self.ask("cli", "POST", "/internal/v1/profiles", body)

    async def resolve(self, profile: dict[str, Any], origin: str, **more: object) -> Answer:
        """Resolves a destination of *profile*."""
        body = {"profile_id": profile["id"], "company_id": profile["company_id"], "origin": origin, **more}
        return await self.ask("ingest", "POST", "/internal/v1/destinations", body)

    async def lease(self, profile: dict[str, Any], audience_id: str, **more: object) -> Answer:
        """Asks for a lease."""
        body = {
            "profile_id": profile["id"],
            "company_id": profile["company_id"],
            "ad_account_id": profile["ad_account"]["id"],
            "audience_id": audience_id,
            "chunk_id": "7/0/3",
            **more,
        }
        return await self.ask("uploader", "POST", "/internal/v1/leases", body)


@contextmanager
def running(arguments: list[str], log: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program of ours, stopped at the end; standard error goes to *log*."""
    with log.open("ab") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **environment},
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()


def wait_ready(url: str, child: "subprocess.Popen[bytes]", log: Path) -> None:
    """Returns when *url* answers 200.

    Raises:
        AssertionError: It did not in time, or the process ended; with its log.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 -- loopback
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{url} is not ready (exit code {child.poll()}):\n{log.read_text()[-4000:]}")


def write_identities(folder: Path) -> dict[str, Ed25519PrivateKey]:
    """A key for each caller: `<folder>/<name>.pem`, and `trusted.json` with all public ones."""
    keys = {name: Ed25519PrivateKey.generate() for name in CALLERS}
    public = {
        name: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        for name, key in keys.items()
    }
    for name, key in keys.items():
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.pem").write_bytes(pem)
    (folder / "trusted.json").write_text(json.dumps(public))
    return keys
