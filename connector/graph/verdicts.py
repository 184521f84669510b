"""What to do about a call that did not succeed: one table, keyed by (code, subcode). Pure.

Sources: Meta's Graph and Marketing API error references, recorded traffic, and what six open connectors do. Where
those contradict each other `WHY` says how it was decided. `is_transient: true` turns Impossible and Unknown into a
retry; a person, a pause or a split that the code names stays, and so does what is `final`. What is not in the table is
Unknown, and unknown is never delivered. `docs/reference/verdicts.md` is generated from here.
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
    APP = "app"


@dataclass(frozen=True)
class RetryLater:
    """Trouble that passes: try again with back-off; an attempt is spent. After `halve_after` of them, halve."""

    reason: str
    halve_after: int | None = None


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
    """It will never work as it is; when `final`, whatever `is_transient` says."""

    reason: str
    advice: str
    final: bool = False


@dataclass(frozen=True)
class Unknown:
    """Nobody has described this answer: one slow retry, then a dead letter and an alarm."""

    label: str


Trouble = RetryLater | Throttled | WaitForPerson | Split | Impossible | Unknown


class Remedy(StrEnum):
    """What mends the session of a replacement; the codes of `REMEDIES` say which."""

    WAIT = "wait"
    """Another update runs: wait until `operation_status` is Normal, then begin with a new session."""

    FIRST_BATCH = "first_batch"
    """Meta has not seen batch 1: send it."""

    RESTART = "restart"
    """The session is over: send everything again in a new one."""

    ADD_AND_REMOVE = "add_and_remove"
    """The audience is too large to be replaced: add and remove instead."""


DEFAULT_ACCOUNT_WAIT = 60.0
"""Seconds an account pauses when Meta names no time; then 300, then doubled (`services.uploader.governor`)."""

SCORE_WAIT = 300.0
"""The same for an ad account's score, which decays over 300 s and blocks for as long (Marketing API rate limits)."""

DEFAULT_APP_WAIT = 60.0

HALVE_AFTER = 3
"""Attempts that end in code 1 before the batch is halved: Meta says it of passing trouble and of what is too much."""

_RECONNECT = "the customer has to connect the Facebook account again"
_ACCEPT_TERMS = "somebody with access to the ad account has to accept Meta's Custom Audience terms"
_PERMISSION = "the customer has to grant ads_management and access to this ad account"
_DEFECT = "this is a defect of the connector"
_FLAGGED = "the audience is flagged by Meta: rename or appeal it in Audience Manager, or deliver to a new one"

ACCOUNT = Throttled(ThrottleScope.ACCOUNT, DEFAULT_ACCOUNT_WAIT)
SCORE = Throttled(ThrottleScope.ACCOUNT, SCORE_WAIT)
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
GONE = Impossible("audience_gone", "the audience does not exist any more: deliver to another one")
UNREACHABLE = WaitForPerson(
    "unreachable",
    WaitScope.AUDIENCE,
    "give the connected person or system user access to the ad account; was the audience deleted, deliver to another",
)
REPLACING = RetryLater("audience_being_replaced")
TOO_SMALL = Impossible(
    "audience_too_small",
    "Meta refuses a removal that would leave too few members: nobody was removed. Add people first, or delete the "
    "audience at Meta if nobody is to remain",
    final=True,
)

TABLE: dict[tuple[int, int | None], Trouble] = {
    # -- trouble that passes
    (1, None): RetryLater("unknown_at_meta", HALVE_AFTER),
    (1, 99): Split("oversized"),
    (2, None): RetryLater("service_unavailable"),
    (960, None): RetryLater("batch_timeout"),
    (5000, None): RetryLater("unknown_at_meta"),
    (21009, None): RetryLater("server_error"),
    (104, None): RetryLater("bad_signature"),
    # -- spent budgets
    (4, None): APP,
    (4, 1504022): APP,
    (341, None): APP,
    (17, None): SCORE,
    (17, 2446079): SCORE,
    (32, None): ACCOUNT,
    (613, None): ACCOUNT,
    (613, 1487742): SCORE,
    (613, 1996): ACCOUNT,
    (613, 5044001): ACCOUNT,
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
    (3, None): WaitForPerson(
        "app_capability_missing", WaitScope.APP, "our app lacks the capability at Meta: App Review"
    ),
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
    (200, 1870047): TOO_SMALL,
    (2655, None): TERMS,
    (2663, None): TERMS,
    (2664, None): TERMS,
    (2654, None): WaitForPerson("audience_create_refused", WaitScope.ACCOUNT, _PERMISSION),
    (2654, 1713092): WaitForPerson("no_write_access", WaitScope.ACCOUNT, _PERMISSION),
    # -- policy
    (368, None): BLOCKED,
    (368, 1404078): BLOCKED,
    (368, 2859015): BLOCKED,
    (100, 1713230): FLAGGED,
    (100, 1713228): FLAGGED,
    (100, 1713231): FLAGGED,
    (471, None): FLAGGED,
    # -- what will never work as it is
    (100, None): Impossible("invalid_parameter", f"Meta refuses a parameter: {_DEFECT}"),
    (100, 2460003): Impossible("blocked_by_integrity", _FLAGGED),
    (105, None): Impossible("too_many_parameters", _DEFECT),
    (194, None): Impossible("missing_parameter", _DEFECT),
    (803, None): GONE,
    (2500, None): Impossible("unparsable_request", _DEFECT),
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
    (100, 33): UNREACHABLE,
    (1487301, None): WaitForPerson(
        "audience_not_shared", WaitScope.AUDIENCE, "share the audience with the account again"
    ),
    (1487366, None): GONE,
}

REMEDIES: dict[tuple[int, int | None], Remedy] = {
    (2650, 1870145): Remedy.WAIT,
    (2650, 1870147): Remedy.FIRST_BATCH,
    (2650, 1870158): Remedy.RESTART,
    (2650, 1870159): Remedy.RESTART,
    (2650, 1870148): Remedy.RESTART,
    (2650, 1870144): Remedy.ADD_AND_REMOVE,
}
"""What Meta's usersreplace reference tells to do. It goes before the verdict, for whoever can do it."""

WHY: dict[tuple[int, int | None], str] = {
    (1, None): "Meta's catch-all, also for what is too much at once: retried, then halved; no row is accused for it",
    (1, 99): "seen with 30,000 rows (java SDK issue 46), also worded as `reduce the amount of data`: halved at once",
    (5000, None): "seen with uploads; peers retry it",
    (21009, None): "one peer takes it for a server error, nobody documents it: retried",
    (
        104,
        None,
    ): "documented as a wrong proof, met as a connection reset: retried; if it is the proof, it ends as a dead "
    "letter and is seen",
    (341, None): "one peer retries it as a 500; Meta's guide says the app is limited and to wait",
    (4, 1504022): "seen once; the code says enough",
    (17, None): "a user's or an account's score, which decays over 300 s; a token serves one account here: the account",
    (32, None): "a page's limit, which we do not call: the account pauses all the same",
    (613, None): "two peers do not take it for a throttle; Meta's reference does",
    (613, 1996): "inconsistent request volume: the pause and the slow start after it smooth it",
    (613, 5044001): "above 100 calls a second, which the governor does not reach",
    (
        200,
        1870047,
    ): "the removal is final and reported, never retried: the same removal is refused again. Recorded for v9 "
    "and v10; with v12 the same one succeeded, so it is no rule that could be checked before",
    (368, None): "Meta's guide says wait and retry, one peer retries, one aborts. A loop prolongs the block and "
    "nobody knows its end: the account waits for a person who looks at why",
    (100, 33): "Meta does not tell deleted from forbidden; its reference names a system user without a role as the "
    "usual cause, which a person mends. So it waits; ended for good it would have to be replayed by hand",
    (1487366, None): "this one does say deleted",
    (3, None): "concerns every customer alike, so the app waits and not one token",
    (10, None): "missing for the token, so everything that needs it waits",
    (270, None): "the app may touch other accounts, so only this one waits",
    (275, None): "one uploader stops for it: the account waits",
    (190, 492): "a new token does not help here: the person needs the role again",
    (102, None): "has the subcodes of 190 and means the same",
    (2654, None): "one peer retries once. Met when an audience is created, which auth does and reports at once",
    (100, 1713230): "peers end it; the owner can rename or appeal in Audience Manager, so the audience waits",
    (100, 2460003): "blocked by integrity, without an appeal that is documented: ends",
    (100, None): "with a deprecated `ids` it came as HTTP 500; the code decides, not the status",
    (
        2635,
        None,
    ): "every call meets it: dead letters stop the line (see the fuse) before many are lost, and a fact tells",
    (2650, None): "the audience was filled with another kind of schema (python SDK issue 433)",
    (200, 1870092): "business-tools terms: accepted on the same pages",
}
"""How it was decided where sources are silent or contradict each other. Shown on the reference page."""

PERMISSION_FAMILY = range(200, 300)
"""Codes 200 to 299 are permissions (Meta's error guide), also those nobody listed."""


def classify(answer: Refusal | Garbled | NoAnswer, account: str | None = None) -> Trouble:
    """What to do about *answer*, to a call for *account* (`act_…`): its own times count, not those of others."""
    match answer:
        case Refusal():
            return _refusal(answer.error, answer.meta.usage, account)
        case Garbled():
            return _garbled(answer.meta, account)
        case NoAnswer():
            return RetryLater("no_answer")
        case _:
            assert_never(answer)


def remedy(error: GraphError) -> Remedy | None:
    """What mends the replacement that *error* refuses; None when it is about something else."""
    return REMEDIES.get((error.code, error.subcode))


def _garbled(meta: Meta, account: str | None) -> Trouble:
    """HTML or nothing: infrastructure when the server says so, otherwise something nobody has described.

    A 200 that is no JSON, or that was cut off, may have had its effect: it is tried again, which does no harm. 413 and
    429 come from the servers before Graph, which do not write error envelopes.
    """
    if meta.status == 413:
        return Split("oversized")
    if meta.status == 429:
        return _timed(ACCOUNT, meta.usage, account)
    if meta.status >= 500 or meta.status == 408 or 200 <= meta.status < 300:
        return RetryLater("garbled_answer")
    return Unknown(f"http_{meta.status}")


def _refusal(error: GraphError, usage: Usage, account: str | None) -> Trouble:
    found = _row(error)
    match found:
        case Throttled():
            return _timed(found, usage, account)
        case WaitForPerson() | Split() | RetryLater():
            return found
        case Impossible(final=True):
            return found
        case Impossible() | Unknown():
            return RetryLater("transient") if error.is_transient else found
        case _:
            assert_never(found)


def _timed(row: Throttled, usage: Usage, account: str | None) -> Throttled:
    """With the time Meta states for whose budget is spent; the estimates are about accounts, never about the app."""
    stated = usage.retry_after if row.scope is ThrottleScope.APP else usage.stated_wait(account)
    return Throttled(row.scope, stated, stated=True) if stated else row


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
