"""The script of the hour: what Meta answers, and how each delivery has to end. Data, a row for each trouble."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tests.records import address, digest

SPEED = 60
"""Seconds of Meta's time in one of ours: the hour passes in a minute."""

SHORT = (0.05, 0.1)
TIERS = (0.5, 1.0, 2.0, 4.0)
ATTEMPTS, PATIENCE = 6, 5.0
"""The uploader's settings: what takes half a minute to two hours in production takes seconds here."""

UNTOLD = {"x-business-use-case-usage": "{}"}
"""A throttle that does not say for how long; what the emulator says unasked is a minute."""

HTML = "<html><body>Sorry, something went wrong.</body></html>"
FOR_EVER: int | None = None

Answer = dict[str, Any]
Trouble = tuple[int | None, Answer]
"""How often, and what is answered in the place of, or beside, the real answer."""


@dataclass(frozen=True)
class Scenario:
    """A customer, one delivery, and its trouble.

    It is met by the calls that carry the first of the people; of several files nobody knows which is called for first,
    so there it is met by whatever is called for the account.

    Attributes:
        name: The customer; also the watermark of the people.
        troubles: What the calls meet, one after the other.
        rests: The delivery's state when nothing moves any more; what waits is mended then, released, and delivered.
        why: The code of the delivery's reason there.
        calls: How many calls it takes until then, at least and at most.
        people: Records of the delivery.
        files: They are in so many files: as many chunks.
        invalid: Records that Meta refuses one by one.
        pause: Seconds of Meta's time between the first call and the next.
        attempts: The number of the attempt that delivered, when it was one.
    """

    name: str
    troubles: tuple[Trouble, ...]
    rests: str = "delivered"
    why: str | None = None
    calls: tuple[int, int] = (2, 2)
    people: int = 20
    files: int = 1
    invalid: int = 0
    pause: float = 0.0
    attempts: int | None = None

    def faults(self, account: str) -> Iterator[dict[str, Any]]:
        """As the emulator takes them; *account* is the number that a header may speak of as `ACCOUNT`."""
        met = {"cell": digest(address(self.name, 0))}
        if self.files > 1:
            met = {"account": account, "path": "/users"}
        for times, answer in self.troubles:
            headers = {name: text.replace("ACCOUNT", account) for name, text in answer.get("headers", {}).items()}
            told = answer | ({"headers": headers} if headers else {})
            yield {"match": met, "times": times, "answer": told}


def _coded(code: int, subcode: int | None) -> Answer:
    return {"code": code} if subcode is None else {"code": code, "subcode": subcode}


def _named(kind: str, code: int, subcode: int | None) -> str:
    return f"{kind}-{code}" if subcode is None else f"{kind}-{code}-{subcode}"


def _untold(code: int, subcode: int | None = None, pause: float = 60) -> Scenario:
    """A throttle without a word of how long: the table's pause, and no attempt is spent."""
    answer = _coded(code, subcode) | {"headers": UNTOLD}
    return Scenario(_named("throttled", code, subcode), ((1, answer),), pause=pause, attempts=1)


def _told(name: str, answer: Answer, pause: float) -> Scenario:
    return Scenario(f"throttled-{name}", ((1, answer),), pause=pause, attempts=1)


THROTTLES = (
    *(_untold(code) for code in (4, 32, 341, 613, *range(80000, 80015))),
    _untold(4, 1504022),
    _untold(17, pause=300),
    _untold(17, 2446079, pause=300),
    _untold(613, 1487742, pause=300),
    *(_untold(613, subcode) for subcode in (1996, 5044001, 1487632, 1487225)),
    _told("80003-2446079", _coded(80003, 2446079), pause=60),
    _told("retry-after", {"code": 80003, "headers": {**UNTOLD, "Retry-After": "20"}}, pause=20),
    _told("app-retry-after", {"code": 4, "headers": {**UNTOLD, "Retry-After": "20"}}, pause=20),
    _told("http-429", {"status": 429, "body": HTML, "headers": {"Retry-After": "90"}}, pause=90),
    _told("error-in-200", {"status": 200, "code": 80003}, pause=60),
    Scenario(  # the estimate on a good answer: the next call would be refused
        "told-by-a-success",
        (
            (
                1,
                {
                    "headers": {
                        "x-business-use-case-usage": '{"ACCOUNT": [{"type": "custom_audience", "call_count": 100, '
                        '"total_cputime": 1, "total_time": 1, "estimated_time_to_regain_access": 3}]}'
                    }
                },
            ),
        ),
        files=2,
        pause=180,
    ),
    Scenario(  # 100 % on a good answer is a brake and no block: half a minute, from when the call was admitted
        "full-on-a-success",
        ((1, {"headers": {"x-ad-account-usage": '{"acc_id_util_pct": 100}'}}),),
        files=2,
        pause=15,
    ),
)


def _passing(name: str, times: int, answer: Answer, *, more: int = 0) -> Scenario:
    """Trouble that passes by itself: an attempt for each time, and it arrives."""
    return Scenario(name, ((times, answer),), calls=(times + 1 + more, times + 1 + more), attempts=times + 1)


STORMS = (
    _passing("storm-500-empty", 3, {"status": 500}),
    _passing("storm-500-code-1", 2, {"code": 1}),
    _passing("storm-502-html", 4, {"status": 502, "body": HTML}),
    _passing("storm-503-code-2", 5, {"code": 2}),
    _passing("storm-503-html", 1, {"status": 503, "body": HTML, "headers": {"Retry-After": "1"}}),
    _passing("storm-504-html", 2, {"status": 504, "body": HTML}),
    _passing("storm-408-html", 1, {"status": 408, "body": HTML}),
    *(_passing(f"passing-{code}", 1, {"code": code}) for code in (104, 960, 5000, 21009)),
    _passing("passing-100-transient", 1, {"code": 100, "transient": True}),
    _passing("passing-unknown-transient", 1, {"code": 424242, "transient": True}),
    _passing("html-in-200", 2, {"status": 200, "body": HTML}),
    _passing("empty-200", 2, {"status": 200}),
    _passing("array-200", 1, {"status": 200, "body": []}),
    _passing("other-reply-200", 1, {"status": 200, "body": {"success": True}}),
    _passing("error-in-200", 1, {"status": 200, "code": 2}),
    _passing("truncated", 2, {"truncate": 30}),
    _passing("text-plain", 1, {"headers": {"Content-Type": "text/plain"}}),
    _passing("reset-before", 2, {"reset": "before"}),
    _passing("reset-after", 2, {"reset": "after"}),
    _passing("hung", 1, {"hang": True}),
    Scenario(
        "mixed-weather",
        (
            (1, {"reset": "after"}),
            (1, {"code": 80003, "headers": {**UNTOLD, "Retry-After": "15"}}),
            (1, {"status": 502, "body": HTML}),
            (1, {"truncate": 10}),
        ),
        calls=(5, 5),
        attempts=4,
    ),
    Scenario("too-much-by-code-1", ((4, {"code": 1}),), calls=(6, 6), attempts=4),
    Scenario(
        "never-again",
        ((FOR_EVER, {"code": 2}),),
        rests="failed",
        why="service_unavailable",
        calls=(ATTEMPTS, ATTEMPTS + 2),
    ),
)


def _person(code: int, subcode: int | None, cause: str) -> Scenario:
    """Nobody but a person can mend it: one call, and none until it is released."""
    name, trouble = _named("person", code, subcode), (FOR_EVER, _coded(code, subcode))
    return Scenario(name, (trouble,), rests="waiting", why=cause, calls=(1, 1))


PERSONS = (
    _person(190, None, "token_dead"),
    _person(190, 458, "app_removed"),
    _person(190, 459, "checkpoint"),
    _person(190, 460, "password_changed"),
    _person(190, 463, "token_expired"),
    _person(190, 464, "user_unconfirmed"),
    _person(190, 467, "token_invalidated"),
    _person(190, 492, "role_missing"),
    _person(190, 493, "not_engaged"),
    _person(102, None, "session_invalid"),
    *(_person(code, None, "permission_missing") for code in (10, 200, 294, 299)),
    *(_person(200, subcode, "terms_missing") for subcode in (1870090, 1870034, 1870092)),
    *(_person(code, None, "terms_missing") for code in (2655, 2663, 2664)),
    _person(200, 1870050, "business_missing"),
    _person(270, None, "app_in_development"),
    _person(275, None, "ad_account_invalid"),
    _person(368, None, "policy_block"),
    _person(368, 1404078, "policy_block"),
    *(_person(100, subcode, "audience_flagged") for subcode in (1713230, 1713228, 1713231)),
    _person(471, None, "audience_flagged"),
    _person(100, 33, "unreachable"),
    _person(1487301, None, "audience_not_shared"),
)


def _impossible(code: int, subcode: int | None, reason: str) -> Scenario:
    """It will never work: a dead letter after one call."""
    name, trouble = _named("impossible", code, subcode), (FOR_EVER, _coded(code, subcode))
    return Scenario(name, (trouble,), rests="failed", why=reason, calls=(1, 1))


FOREIGN = {
    "audience_id": "1",
    "session_id": "1",
    "num_received": 20,
    "num_invalid_entries": 0,
    "invalid_entry_samples": {},
}

ENDS = (
    _impossible(100, None, "invalid_parameter"),
    _impossible(100, 2460003, "blocked_by_integrity"),
    _impossible(105, None, "too_many_parameters"),
    _impossible(194, None, "missing_parameter"),
    _impossible(803, None, "audience_gone"),
    _impossible(1487366, None, "audience_gone"),
    _impossible(2500, None, "unparsable_request"),
    _impossible(2635, None, "version_ended"),
    _impossible(2650, None, "schema_kind"),
    _impossible(200, 1870065, "audience_disabled"),
    Scenario(
        "foreign-reply", ((FOR_EVER, {"status": 200, "body": FOREIGN}),), "failed", "wrong_audience", calls=(1, 1)
    ),
    Scenario("unknown-424242", ((FOR_EVER, {"code": 424242}),), "failed", "unknown_answer"),
    Scenario("unknown-404-html", ((FOR_EVER, {"status": 404, "body": HTML}),), "failed", "unknown_answer"),
    Scenario("unknown-once", ((1, {"code": 424242}),), attempts=2),
    Scenario("unknown-1234567-in-200", ((FOR_EVER, {"status": 200, "code": 1234567}),), "failed", "unknown_answer"),
)

SPLITS = (
    Scenario("oversized-1-99", ((1, _coded(1, 99)),), calls=(3, 3), attempts=1),
    Scenario("oversized-413", ((1, {"status": 413, "body": HTML}),), calls=(3, 3), attempts=1),
    # 2 · log2(10,000) + 1 = 27.6
    Scenario("one-of-ten-thousand", ((FOR_EVER, _coded(1, 99)),), calls=(15, 27), people=10_000, invalid=1, attempts=1),
)

SCENARIOS = tuple(chain(THROTTLES, STORMS, PERSONS, ENDS, SPLITS))
