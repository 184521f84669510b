"""What to do about a call that did not succeed: one table, keyed by (code, subcode). Pure.

Sources: Meta's Graph and Marketing API error references, recorded traffic, and what six open connectors do. Where
those contradict each other the row's comment says how it was decided. `is_transient: true` turns Impossible and
Unknown into a retry; a person, a pause or a split that the code names stays. What is not in the table is Unknown, and
unknown is never delivered.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from connector.graph.errors import GraphError
from connector.graph.protocol import Garbled, Meta, NoAnswer, Refusal
from connector.graph.usage import Usage


class ThrottleScope(StrEnum):
    """Whose budget is spent."""

    ACCOUNT = "account"
    APP = "app"


class WaitScope(StrEnum):
    """What a person has to mend; everything that needs it waits."""

    TOKEN = "token"  # noqa: S105 -- a scope's name
    ACCOUNT = "account"
    AUDIENCE = "audience"


@dataclass(frozen=True)
class RetryLater:
    """Trouble that passes: try again with back-off; an attempt is spent."""

    reason: str


@dataclass(frozen=True)
class Throttled:
    """A budget is spent: pause the scope for `wait_seconds`; no attempt is spent.

    `stated` when that is Meta's own word; otherwise it is a first guess, to be doubled when it was too short.
    """

    scope: ThrottleScope
    wait_seconds: float
    stated: bool = False


@dataclass(frozen=True)
class WaitForPerson:
    """Only a person can mend it; calling again before that burns calls and may prolong a block."""

    cause: str
    scope: WaitScope
    advice: str


@dataclass(frozen=True)
class Split:
    """The batch as a whole is refused: halve it."""

    reason: str


@dataclass(frozen=True)
class Impossible:
    """It will never work as it is."""

    reason: str
    advice: str


@dataclass(frozen=True)
class Unknown:
    """Nobody has described this answer: one slow retry, then a dead letter and an alarm."""

    label: str


Trouble = RetryLater | Throttled | WaitForPerson | Split | Impossible | Unknown

DEFAULT_ACCOUNT_WAIT = 300.0
"""Seconds an account pauses when Meta names no time: its score decays over 300 s (Marketing API rate limits)."""

DEFAULT_APP_WAIT = 60.0

_RECONNECT = "the customer has to connect the Facebook account again"
_ACCEPT_TERMS = "somebody with access to the ad account has to accept Meta's Custom Audience terms"
_PERMISSION = "the customer has to grant ads_management and access to this ad account"
_FLAGGED = "the audience is flagged by Meta: rename or appeal it in Audience Manager, or deliver to a new one"

ACCOUNT = Throttled(ThrottleScope.ACCOUNT, DEFAULT_ACCOUNT_WAIT)
APP = Throttled(ThrottleScope.APP, DEFAULT_APP_WAIT)


def _dead_token(cause: str, advice: str = _RECONNECT) -> WaitForPerson:
    return WaitForPerson(cause, WaitScope.TOKEN, advice)


TERMS = WaitForPerson("terms_missing", WaitScope.ACCOUNT, _ACCEPT_TERMS)
PERMISSION = WaitForPerson("permission_missing", WaitScope.TOKEN, _PERMISSION)
FLAGGED = WaitForPerson("audience_flagged", WaitScope.AUDIENCE, _FLAGGED)
BLOCKED = WaitForPerson(
    "policy_block",
    WaitScope.ACCOUNT,
    "Meta blocks this for policy reasons for a while: look at the account's quality page",
)
GONE = Impossible("audience_gone", "the audience does not exist any more, or the profile lost access to it")
REPLACING = RetryLater("audience_being_replaced")

TABLE: dict[tuple[int, int | None], Trouble] = {
    # -- trouble that passes
    (1, None): RetryLater("unknown_at_meta"),
    (1, 99): Split("oversized"),  # also "reduce the amount of data": java SDK issue 46
    (2, None): RetryLater("service_unavailable"),
    (960, None): RetryLater("batch_timeout"),
    (5000, None): RetryLater("unknown_at_meta"),  # seen with uploads
    (21009, None): RetryLater("server_error"),  # one connector treats it as a server error
    (104, None): RetryLater("bad_signature"),  # also met as a connection reset; exhausted, it is dead-lettered and seen
    # -- spent budgets
    (4, None): APP,
    (4, 1504022): APP,
    (341, None): APP,  # one peer retries it as a 500; Meta's guide says wait
    (17, None): ACCOUNT,
    (17, 2446079): ACCOUNT,
    (32, None): ACCOUNT,
    (613, None): ACCOUNT,
    (613, 1487742): ACCOUNT,
    (613, 1996): ACCOUNT,  # inconsistent request volume
    (613, 5044001): ACCOUNT,  # above 100 calls a second
    (613, 1487632): ACCOUNT,
    (613, 1487225): ACCOUNT,
    **{(code, None): ACCOUNT for code in range(80000, 80015)},  # business use cases; 80003 is custom audiences
    # -- the token
    (102, None): _dead_token("session_invalid"),
    (190, None): _dead_token("token_dead"),
    (190, 458): _dead_token("app_removed"),
    (190, 459): _dead_token("checkpoint", "the customer has to log in on facebook.com, then connect again"),
    (190, 460): _dead_token("password_changed"),
    (190, 463): _dead_token("token_expired"),
    (190, 464): _dead_token("user_unconfirmed", "the customer has to confirm the Facebook account on facebook.com"),
    (190, 467): _dead_token("token_invalidated"),
    (190, 492): _dead_token("role_missing", "the person lost the role on this account: a new token does not help"),
    (190, 493): _dead_token("not_engaged"),
    # -- permissions and terms
    (3, None): WaitForPerson("app_capability_missing", WaitScope.TOKEN, "our app lacks the capability at Meta"),
    (10, None): PERMISSION,
    (294, None): PERMISSION,
    (270, None): WaitForPerson("app_in_development", WaitScope.ACCOUNT, "our app may not touch this account yet"),
    (275, None): WaitForPerson("ad_account_invalid", WaitScope.ACCOUNT, "the ad account is not usable"),
    (200, None): PERMISSION,
    (200, 1870090): TERMS,
    (200, 1870034): TERMS,
    (200, 1870050): WaitForPerson("business_missing", WaitScope.ACCOUNT, "the ad account must belong to a business"),
    (200, 1870092): TERMS,
    (200, 1870065): Impossible("audience_disabled", "Meta disabled the audience: deliver to another one"),
    (200, 1870047): Impossible("audience_too_small", "Meta refuses removals that leave too few members"),
    (2655, None): TERMS,
    (2663, None): TERMS,
    (2664, None): TERMS,
    (2654, None): WaitForPerson("audience_create_refused", WaitScope.ACCOUNT, _PERMISSION),
    (2654, 1713092): WaitForPerson("no_write_access", WaitScope.ACCOUNT, _PERMISSION),
    # -- policy. 368: peers disagree (retry, abort); a fast loop is the one wrong answer, so it waits for a person
    (368, None): BLOCKED,
    (368, 1404078): BLOCKED,
    (368, 2859015): BLOCKED,
    (100, 1713230): FLAGGED,
    (100, 1713228): FLAGGED,
    (100, 1713231): FLAGGED,
    (471, None): FLAGGED,
    # -- what will never work as it is
    (100, None): Impossible("invalid_parameter", "Meta refuses a parameter: this is a defect of the connector"),
    (100, 33): GONE,
    (100, 2460003): Impossible("blocked_by_integrity", _FLAGGED),
    (105, None): Impossible("too_many_parameters", "this is a defect of the connector"),
    (194, None): Impossible("missing_parameter", "this is a defect of the connector"),
    (803, None): GONE,
    (2500, None): Impossible("unparsable_request", "this is a defect of the connector"),
    (2635, None): Impossible("version_ended", "this Graph API version has ended: raise FBC_GRAPH__VERSION"),
    (2650, None): Impossible(
        "schema_kind", "the audience was filled with another kind of schema: deliver to a new one"
    ),
    (2650, 1870145): REPLACING,
    (2650, 1870147): Impossible("replace_out_of_order", "the replacement's first batch was not seen: start it again"),
    (2650, 1870158): Impossible("replace_expired", "90 minutes passed: start the replacement again"),
    (2650, 1870159): Impossible("replace_finished", "the replacement's session is over: start it again"),
    (2650, 1870148): RetryLater("replace_failed"),
    (2650, 1870144): Impossible("replace_too_large", "use add and remove instead of replace"),
    (2656, None): Impossible("lookalikes_depend", "a lookalike audience depends on this one"),
    (1487301, None): WaitForPerson(
        "audience_not_shared", WaitScope.AUDIENCE, "share the audience with the account again"
    ),
    (1487366, None): GONE,
}

PERMISSION_FAMILY = range(200, 300)
"""Codes 200 to 299 are permissions (Meta's error guide), also those nobody listed."""


def classify(answer: Refusal | Garbled | NoAnswer) -> Trouble:
    """What to do about *answer*."""
    match answer:
        case Refusal():
            return _refusal(answer.error, answer.meta.usage)
        case Garbled():
            return _garbled(answer.meta)
        case NoAnswer():
            return RetryLater("no_answer")
        case _:
            assert_never(answer)


def _garbled(meta: Meta) -> Trouble:
    """HTML or nothing: infrastructure when the server says so, otherwise something nobody has described.

    A 200 that is no JSON, or that was cut off, may have had its effect: it is tried again, which does no harm. 413 and
    429 come from the servers before Graph, which do not write error envelopes.
    """
    if meta.status == 413:
        return Split("oversized")
    if meta.status == 429:
        return Throttled(ThrottleScope.ACCOUNT, meta.usage.regain_seconds or DEFAULT_ACCOUNT_WAIT)
    if meta.status >= 500 or meta.status == 408 or 200 <= meta.status < 300:
        return RetryLater("garbled_answer")
    return Unknown(f"http_{meta.status}")


def _refusal(error: GraphError, usage: Usage) -> Trouble:
    found = _row(error)
    match found:
        case Throttled():
            return Throttled(found.scope, usage.regain_seconds or found.wait_seconds)
        case WaitForPerson() | Split() | RetryLater():
            return found
        case Impossible() | Unknown():
            return RetryLater("transient") if error.is_transient else found
        case _:
            assert_never(found)


def _row(error: GraphError) -> Trouble:
    exact = TABLE.get((error.code, error.subcode))
    if exact is not None:
        return exact
    family = TABLE.get((error.code, None))
    if family is not None:
        return family
    if error.code in PERMISSION_FAMILY:
        return PERMISSION
    return Unknown(error.label)
