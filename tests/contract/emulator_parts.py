"""The emulator as a process, asked over HTTP as any client would: what the contract tests of it share."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override

SECONDS = 20
"""Longest wait for anything the emulator does at once."""


@dataclass(frozen=True)
class Heard:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, int | None]:
        """Code and subcode of the error envelope."""
        return self.json["error"]["code"], self.json["error"].get("error_subcode")


class Unredirected(urllib.request.HTTPRedirectHandler):
    """Leaves redirects to the test, which wants to see where they lead."""

    @override
    def redirect_request(self, *_: Any) -> None:
        """Do not follow."""


_OPENER = urllib.request.build_opener(Unredirected)


def fetch(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Heard:
    """One HTTP exchange; an error status is an answer like any other.

    Raises:
        OSError: The connection broke.
    """
    request = urllib.request.Request(url, body, headers or {}, method=method)  # noqa: S310 - always our own loopback
    try:
        with _OPENER.open(request, timeout=SECONDS) as answer:
            return Heard(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as answer:
        with answer:
            return Heard(answer.code, dict(answer.headers), answer.read())


@dataclass
class EmulatorProcess:
    """A running emulator."""

    process: subprocess.Popen[bytes]
    graph: str
    control: str
    seed: dict[str, Any] = field(repr=False, default_factory=dict)

    def ask(self, method: str, path: str, value: object = None) -> Any:
        """The control side's JSON answer to a request that must succeed."""
        body = None if value is None else json.dumps(value).encode()
        heard = fetch(method, f"{self.control}{path}", body)
        assert heard.status < 300, f"{method} {path}: {heard.status} {heard.body!r}"
        return heard.json

    def call(self, method: str, path: str, **params: object) -> Heard:
        """A Graph call below `/v26.0` with a JSON body and the seed's token."""
        body = json.dumps({"access_token": self.seed["token"], **params}).encode()
        return fetch(method, f"{self.graph}/v26.0/{path}", body, {"Content-Type": "application/json"})

    def audience(self, name: str = "Spring") -> str:
        """The id of a new audience."""
        told = {"name": name, "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY"}
        return str(self.call("POST", f"{self.seed['ad_accounts'][0]}/customaudiences", **told).json["id"])

    def add(self, audience: str, *numbers: int) -> Heard:
        """Upload one person for each number."""
        payload = {"schema": ["EMAIL"], "data": [[hashed(number)] for number in numbers]}
        return self.call("POST", f"{audience}/users", payload=payload)

    def count(self, audience: str) -> int:
        """How many members an audience has."""
        return int(self.ask("GET", f"/audiences/{audience}/count")["count"])

    def seen(self) -> list[tuple[str, str]]:
        """Method and path of every call since the last reset."""
        return [(line["method"], line["path"]) for line in self.ask("GET", "/calls")]


@contextmanager
def emulator_process(*options: str) -> Iterator[EmulatorProcess]:
    """`python -m emulator` from its ready line to its clean end."""
    command = [sys.executable, "-m", "emulator", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            emulator = EmulatorProcess(process, ready["graph"], ready["control"])
            emulator.seed = emulator.ask("GET", "/seed")
            yield emulator
        finally:
            process.terminate()
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def hashed(number: int) -> str:
    """A well-formed hash that is different for every number."""
    return f"{number:064x}"
