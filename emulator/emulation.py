"""The state of one emulator, and the vocabulary its routes are written in."""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from emulator.calls import CallLog
from emulator.clock import Clock
from emulator.faults import Faults
from emulator.limits import HourWindow, Limits, Meter
from emulator.members import KEEPERS
from emulator.protocol import Call
from emulator.refusals import unknown_object
from emulator.world import AdAccount, Audience, Token, User, World

APP_WINDOW = ""
"""Name of the window that counts the whole app's calls."""


@dataclass
class Switches:
    """Behaviours of the app that an operator may turn.

    Attributes:
        ids_refused: `GET /?ids=` answers HTTP 500 with code 100, as the live API does since 2026-10-27.
        proof_required: The app setting "Require App Secret": a call without `appsecret_proof` is refused.
    """

    ids_refused: bool = True
    proof_required: bool = False


class Node(Enum):
    """What the first segment of a path names."""

    ROOT = "root"
    APP_EDGE = "app edge"
    ACCOUNT = "ad account"
    AUDIENCE = "audience"
    USER = "user"
    APP = "app"


@dataclass(frozen=True)
class Caller:
    """Who calls: a user's token, or the app itself (`token` is `None`)."""

    token: Token | None

    def may_see(self, account: AdAccount) -> bool:
        """Whether the caller has a role on the ad account."""
        return self.token is not None and self.token.user_id in account.people


class Emulation:
    """Everything one emulator knows. One thread, no awaiting: a call is served whole or not at all."""

    def __init__(
        self, keep: str = "digests", clock: Clock | None = None, chance: Callable[[], float] | None = None
    ) -> None:
        self.keep = keep
        self.clock = clock or Clock()
        self.chance = chance or random.random
        self.world = World(KEEPERS[keep], self.clock.now)
        self.calls = CallLog()
        self.faults = Faults()
        self.limits = Limits()
        self.switches = Switches()
        self.windows: defaultdict[str, HourWindow] = defaultdict(HourWindow)

    def reset(self) -> None:
        """Back to a fresh start with the same credentials; emulated time goes on, at its normal pace."""
        self.clock.scale = 1.0
        self.world.reset()
        self.calls.clear()
        self.faults.remove()
        self.limits = Limits()
        self.switches = Switches()
        self.windows.clear()


@dataclass(frozen=True)
class Served:
    """A call with what its path and token turned out to name: what every route is handed.

    Attributes:
        segment: The node's segment as received.
        rest: The segments after it.
    """

    emulation: Emulation
    call: Call
    caller: Caller
    segment: str
    rest: tuple[str, ...]

    @property
    def world(self) -> World:
        """The world the call acts on."""
        return self.emulation.world

    @property
    def now(self) -> float:
        """Emulated unix seconds."""
        return self.emulation.clock.now()

    def account(self) -> AdAccount:
        """The ad account the path names.

        Raises:
            Refusal: 100/33, there is none or the caller has no role on it.
        """
        account = self.world.accounts.get(self.segment.removeprefix("act_"))
        if account is None or not self.caller.may_see(account):
            raise unknown_object(self.call.method, self.segment)
        return account

    def audience(self) -> Audience:
        """The audience the path names.

        Raises:
            Refusal: 100/33, there is none or the caller has no role on its ad account.
        """
        audience = self.world.audience(self.segment)
        if audience is None or not self.caller.may_see(self.world.accounts[audience.account]):
            raise unknown_object(self.call.method, self.segment)
        return audience

    def user(self) -> User:
        """The user the path names.

        Raises:
            Refusal: 100/33, there is none.
        """
        user = self.world.users.get(self.segment)
        if user is None:
            raise unknown_object(self.call.method, self.segment)
        return user


@dataclass(frozen=True)
class Route:
    """How one kind of call is served.

    Attributes:
        serve: The handler: returns the JSON object of the answer or raises a `Refusal`.
        scopes: Permissions of which the token must have one.
        needs_token: Whether a token is needed at all.
        app_token: Whether the app's own token is good enough.
        checks_proof: Whether a wrong `appsecret_proof` matters (the Python SDK sends a mismatching one to debug_token).
        marketing: Whether the call needs a living Marketing version in its path.
        meter: Which usage headers the answer carries.
    """

    serve: Callable[[Served], object]
    scopes: frozenset[str] = frozenset()
    needs_token: bool = True
    app_token: bool = False
    checks_proof: bool = True
    marketing: bool = False
    meter: Meter = Meter.PLATFORM


RouteKey = tuple[Node, str, str]
"""Node kind, the segments after it joined with `/`, and the method."""

Routes = Mapping[RouteKey, Route]

MANAGE = frozenset({"ads_management"})
READ = frozenset({"ads_management", "ads_read"})


@dataclass(frozen=True)
class Answer:
    """What goes back: status, body, and headers besides those every answer has."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    code: int | None = None
    subcode: int | None = None
