"""What unit tests of the emulator ask with: calls put to it directly, without a socket, on a clock they turn."""

from dataclasses import dataclass
from typing import Any

import orjson

from emulator.clock import Clock
from emulator.emulation import Answer, Emulation
from emulator.graph import Graph, Reply
from emulator.protocol import build_call

START = 1_800_000_000.0
"""Unix seconds at which every test clock starts: a whole minute."""


def hashed(number: int) -> str:
    """A well-formed hash that is different for every number."""
    return f"{number:064x}"


@dataclass
class Heard:
    """An answer, read."""

    status: int
    json: Any
    headers: dict[str, str]

    @property
    def error(self) -> tuple[int, int | None]:
        """Code and subcode of the error envelope."""
        return self.json["error"]["code"], self.json["error"].get("error_subcode")


class Desk:
    """An emulator one talks to directly."""

    def __init__(self, keep: str = "rows") -> None:
        self.passed = 0.0
        clock = Clock(wall=lambda: START + self.passed, ticks=lambda: self.passed)
        self.emulation = Emulation(keep, clock, chance=lambda: 0.5)
        self.world = self.emulation.world
        self.token = self.world.seed.text
        self.account = f"act_{next(iter(self.world.accounts))}"
        self._graph = Graph(self.emulation)

    def reply(self, method: str, path: str, /, **params: object) -> Reply:
        """Put a call, with the seed's token unless `access_token` is given."""
        given = {"access_token": self.token, **params}
        given = {name: value for name, value in given.items() if value is not None}
        return self._graph.reply(build_call(method, path, given, origin="http://127.0.0.1:1"))

    def ask(self, method: str, path: str, /, **params: object) -> Heard:
        """Put a call below `/v26.0` and read its answer."""
        answer = self.reply(method, f"/v26.0/{path}", **params).answer
        assert isinstance(answer, Answer), f"{method} {path} was not answered"
        return Heard(answer.status, orjson.loads(answer.body), dict(answer.headers))

    def audience(self, **params: object) -> str:
        """Create an audience and return its id."""
        told = {"name": "Spring", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY", **params}
        return str(self.ask("POST", f"{self.account}/customaudiences", **told).json["id"])

    def upload(
        self,
        audience: str,
        rows: list[Any],
        schema: object = ("EMAIL",),
        *,
        method: str = "POST",
        edge: str = "users",
        **params: object,
    ) -> Heard:
        """Send rows to a member edge."""
        keys = list(schema) if isinstance(schema, tuple) else schema
        return self.ask(method, f"{audience}/{edge}", payload={"schema": keys, "data": rows}, **params)

    def members(self, audience: str) -> int:
        """How many members an audience has."""
        found = self.world.audience(audience)
        assert found is not None
        return len(found.members)

    def rows(self, audience: str) -> list[dict[str, object]]:
        """The members of an audience, as kept."""
        found = self.world.audience(audience)
        assert found is not None
        return list(found.members.rows())
