"""What exists: one app, its people and their tokens, ad accounts, audiences. State and its invariants, no HTTP."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from emulator.members import Members
from emulator.refusals import Refusal, dead_token
from emulator.sessions import Ending, Replaces, SessionBook

SCOPES = ("ads_management", "business_management", "ads_read", "public_profile")
"""The permissions this app can ask for."""

SHORT_LIVED = 3600
LONG_LIVED = 5_183_944
"""Token lifetimes in seconds (Meta reference: access tokens; the second as observed)."""

DATA_ACCESS = 90 * 86_400
"""Seconds after which a person's data may no longer be read although the token lives (Meta reference)."""

CODE_LIFETIME = 600
MOST_TOKENS = 100_000
MOST_CODES = 10_000

BUSINESS = {"id": "200000000000001", "name": "Example Business"}
NORMAL, REPLACING, REPLACE_FAILED, FLAGGED = 200, 414, 415, 471
"""`operation_status` codes the emulator sets or obeys."""

DEATHS = {
    458: "Error validating access token: The user has not authorized application.",
    459: "Error validating access token: The user must log in at the website to pass a checkpoint.",
    460: "Error validating access token: The session has been invalidated because the password was changed.",
    463: "Error validating access token: Session has expired.",
    467: "Error validating access token: The session is invalid because the user logged out.",
}


def digest_of(token: str) -> str:
    """The only form in which a token is shown: the first 12 hex digits of its SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class App:
    """The one app; both values are made at start and survive a reset."""

    app_id: str
    secret: str = field(repr=False)

    @property
    def token(self) -> str:
        """The app token, literally id and secret (Meta reference: access tokens)."""
        return f"{self.app_id}|{self.secret}"

    def proof(self, message: str) -> str:
        """The `appsecret_proof` of a token, or of `token|unix_time`."""
        return hmac.new(self.secret.encode(), message.encode(), hashlib.sha256).hexdigest()


@dataclass
class User:
    """A person or a system user."""

    id: str
    name: str
    declined: set[str] = field(default_factory=set)


@dataclass
class Token:
    """An issued token; `expires_at` 0 means never, `dead` is the subcode it died of (0: none given)."""

    text: str = field(repr=False)
    user_id: str
    kind: str
    scopes: set[str]
    issued_at: float
    expires_at: float
    dead: int | None = None

    def death(self, now: float) -> Refusal | None:
        """Why the token no longer works, or `None`."""
        subcode = 463 if self.dead is None and 0 < self.expires_at <= now else self.dead
        if subcode is None:
            return None
        return dead_token(subcode or None, DEATHS.get(subcode, ""))


@dataclass
class AdAccount:
    """An ad account; `people` are the ids of the users who have a role on it."""

    id: str
    name: str
    people: set[str]
    terms: bool = True
    business: dict[str, str] | None = field(default_factory=lambda: dict(BUSINESS))


@dataclass
class Audience:
    """A Custom Audience.

    Attributes:
        told: The create or update parameters that are read back as they were given.
        single: The schema style of its first upload, `None` before it.
        shared_with: Ad accounts it is shared with.
    """

    id: str
    account: str
    name: str
    subtype: str
    created: int
    members: Members
    told: dict[str, object] = field(default_factory=dict)
    updated: int = 0
    content_updated: int = 0
    operation_status: int = NORMAL
    delivery_status: int | None = None
    violations: list[str] = field(default_factory=list)
    single: bool | None = None
    shared_with: list[str] = field(default_factory=list)
    sessions: SessionBook = field(default_factory=SessionBook)
    replaces: Replaces = field(default_factory=Replaces)

    @property
    def value_based(self) -> bool:
        """Whether every row must carry a customer value."""
        return self.told.get("is_value_based") is True

    def end_replace(self, how: Ending, now: float) -> None:
        """Let the running replace take effect; one that timed out with what had arrived (reference: usersreplace)."""
        self.members = self.replaces.end(how)
        self.operation_status = NORMAL
        self.content_updated = int(now)


class World:
    """Everything that exists, by id.

    Ids are the same in every run; tokens and the app secret are new ones at each start, so that no fixture can hold
    them. Audience ids go on counting across resets: an id remembered from before must not name another audience.
    """

    def __init__(self, make_members: Callable[[], Members], now: Callable[[], float]) -> None:
        self.app = App("100000000000009", secrets.token_hex(16))
        self._make_members = make_members
        self._now = now
        self._seed_token = _new_token_text()
        self._next_audience = 23_850_000_000_000_001
        self.reset()

    def reset(self) -> None:
        """Back to the seed: one user, its token, three ad accounts with terms accepted, no audiences."""
        user = User("100000000000001", "Alex Example")
        self.users = {user.id: user}
        self.tokens: dict[str, Token] = {}
        self.codes: dict[str, Code] = {}
        self.audiences: dict[str, Audience] = {}
        self.accounts: dict[str, AdAccount] = {}
        self.seed = self.issue(user.id, set(SCOPES), 0, text=self._seed_token)
        for number in range(1, 4):
            self.open_account(f"Example Ad Account {number}", {user.id})

    def issue(
        self, user_id: str, scopes: set[str], lifetime: float, *, kind: str = "USER", text: str | None = None
    ) -> Token:
        """Make a token for a user; *lifetime* in seconds of emulated time, 0 for never expiring."""
        now = self._now()
        token = Token(text or _new_token_text(), user_id, kind, set(scopes), now, now + lifetime if lifetime else 0)
        if len(self.tokens) >= MOST_TOKENS:
            del self.tokens[next(one for one in self.tokens if one != self._seed_token)]
        self.tokens[token.text] = token
        return token

    def user(self, user_id: str, name: str | None = None) -> User:
        """The user of that id, made when there is none."""
        return self.users.setdefault(user_id, User(user_id, name or f"Example User {user_id}"))

    def remember_code(self, code: "Code") -> None:
        """Keep an authorization code for its exchange; the oldest are forgotten beyond the bound."""
        if len(self.codes) >= MOST_CODES:
            del self.codes[next(iter(self.codes))]
        self.codes[code.text] = code

    def tokens_named(self, reference: str) -> list[Token]:
        """Tokens meant by *reference*: the token itself or its digest."""
        return [token for text, token in self.tokens.items() if reference in {text, digest_of(text)}]

    def open_account(
        self, name: str, people: set[str], *, account_id: str | None = None, terms: bool = True, business: bool = True
    ) -> AdAccount:
        """Add an ad account; ids count up when none is given."""
        number = account_id or str(1_000_000_000_001 + len(self.accounts))
        account = AdAccount(number, name, people, terms, dict(BUSINESS) if business else None)
        self.accounts[number] = account
        return account

    def create_audience(self, account: AdAccount, name: str, subtype: str, told: dict[str, object]) -> Audience:
        """Add an empty audience to *account*."""
        now = int(self._now())
        audience = Audience(
            id=str(self._next_audience),
            account=account.id,
            name=name,
            subtype=subtype,
            created=now,
            updated=now,
            content_updated=now,
            members=self._make_members(),
            told=told,
        )
        self._next_audience += 1
        self.audiences[audience.id] = audience
        return audience

    def audience(self, audience_id: str) -> Audience | None:
        """The audience of that id, its overdue replace session closed first."""
        audience = self.audiences.get(audience_id)
        if audience is not None and audience.replaces.due(self._now()):
            audience.end_replace(Ending.TIMED_OUT, self._now())
        return audience

    def audiences_of(self, account: str) -> Iterator[Audience]:
        """The audiences of an ad account, newest first."""
        return (one for one in reversed(self.audiences.values()) if one.account == account)

    def empty_members(self) -> Members:
        """A membership without members, of the kind this emulator keeps."""
        return self._make_members()


@dataclass
class Code:
    """An authorization code: single use, bound to the redirect address it was sent to."""

    text: str = field(repr=False)
    user_id: str
    scopes: set[str]
    redirect_uri: str
    expires_at: float
    used: bool = False


def new_code(user_id: str, scopes: set[str], redirect_uri: str, now: float) -> Code:
    """A fresh authorization code, valid for ten minutes."""
    return Code(secrets.token_urlsafe(32), user_id, scopes, redirect_uri, now + CODE_LIFETIME)


def _new_token_text() -> str:
    return f"EMU{secrets.token_hex(24)}"
