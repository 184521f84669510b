"""Talking to our own services from the command line: where they are, who we are to them, and their errors in words."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import typer

from connector.runtime.identity import ServiceSigner
from connector.runtime.settings import IdentitySettings

TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)


class Unavailable(Exception):
    """Raised when a service cannot be asked; the text says which, where, and what to do."""


class Refused(Exception):
    """Raised when a service says no; carries its status and its own words."""

    def __init__(self, status: int, code: str, message: str, advice: str) -> None:
        super().__init__(f"{message}{f' ({advice})' if advice else ''}")
        self.status = status
        self.code = code


def environment() -> dict[str, str]:
    """The variables that locate the services: the caller's own, else those of the stack running here."""
    from embedded.state import cli_environment  # noqa: PLC0415 -- absent in the image, where variables are always set

    return {**cli_environment(), **os.environ}


@dataclass
class Service:
    """One of our services as an HTTP API; `signer` proves who we are where the API wants to know."""

    name: str
    url: str
    signer: ServiceSigner | None = None
    _headers: Mapping[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, body: object = None, params: Mapping[str, str] | None = None) -> Any:
        """The JSON answer.

        Raises:
            Refused: The service answered with an error.
            Unavailable: It did not answer.
        """
        headers = self.signer.headers(self.name) if self.signer else {}
        try:
            async with (
                aiohttp.ClientSession(timeout=TIMEOUT) as session,
                session.request(method, f"{self.url}{path}", json=body, params=params, headers=headers) as answer,
            ):
                document = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable(
                f"{self.name} does not answer at {self.url} ({type(error).__name__}); `fbc dev status` shows what runs"
            ) from None
        if answer.status >= 400:
            problem = document.get("error", {}) if isinstance(document, dict) else {}
            raise Refused(
                answer.status,
                str(problem.get("code", "error")),
                str(problem.get("message", f"{self.name} answered {answer.status}")),
                str(problem.get("advice", "")),
            )
        return document


def _url(variables: Mapping[str, str], name: str) -> str:
    url = variables.get(f"FBC_{name.upper()}__URL")
    if not url:
        raise Unavailable(
            f"{name} is not known here: start the stack with `fbc dev up`, or set FBC_{name.upper()}__URL"
        )
    return url.rstrip("/")


def ingest(variables: Mapping[str, str]) -> Service:
    """The delivery API."""
    return Service("ingest", _url(variables, "ingest"))


def auth(variables: Mapping[str, str]) -> Service:
    """The internal API of auth, asked as `cli`."""
    missing = [name for name in ("FBC_IDENTITY__KEY_FILE", "FBC_IDENTITY__TRUSTED_FILE") if name not in variables]
    if missing:
        raise Unavailable(f"auth wants to know who asks: set {' and '.join(missing)}, or start `fbc dev up`")
    identity = IdentitySettings(
        service="cli",
        key_file=Path(variables["FBC_IDENTITY__KEY_FILE"]),
        trusted_file=Path(variables["FBC_IDENTITY__TRUSTED_FILE"]),
    )
    return Service("auth", _url(variables, "auth"), ServiceSigner.from_settings(identity))


def fail(error: Exception) -> typer.Exit:
    """Prints *error* for a person and gives the exit to raise: 6 unreachable, 4 conflict, 3 not found, 1 otherwise."""
    typer.echo(f"error: {error}", err=True)
    if isinstance(error, Unavailable):
        return typer.Exit(6)
    status = error.status if isinstance(error, Refused) else 0
    return typer.Exit({404: 3, 409: 4}.get(status, 1))
