"""Pure: scripted misbehaviour for the next calls of a kind, matched and counted; `serving.py` carries it out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase

from emulator.limits import MOST_DELAY_MS
from emulator.protocol import Call, split_path
from emulator.refusals import Refusal
from emulator.shapes import Malformed, checked, not_negative
from emulator.world import digest_of

MOST_FAULTS = 10_000
MATCH_NAMES: dict[str, tuple[type, ...]] = dict.fromkeys(
    ("method", "path", "account", "audience", "token", "cell"), (str,)
)
ANSWER_NAMES: dict[str, tuple[type, ...]] = {
    "status": (int,),
    "code": (int,),
    "subcode": (int,),
    "transient": (bool,),
    "headers": (dict,),
    "body": (str, dict, list),
    "delay_ms": (int, float),
    "truncate": (int,),
    "reset": (str,),
    "hang": (bool,),
}


class Reset(Enum):
    """When the connection is reset: before the request is processed, or after it, with its effect kept."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True)
class Match:
    """Which calls a fault is for; what is not named matches anything.

    Attributes:
        method: What the call means; `POST` with `method=DELETE` is a `DELETE`.
        path: A glob when it has `*`, `?` or `[`, of the path with or without its version; otherwise a part of the path.
        account: `act_1` or `1`.
        audience: Audience id.
        token: The token or its digest.
        cell: A value that one of the rows holds. A call without rows, or whose rows are only counted, holds none.
    """

    method: str | None = None
    path: str | None = None
    account: str | None = None
    audience: str | None = None
    token: str | None = None
    cell: str | None = None

    def covers(self, call: Call) -> bool:
        """Whether *call* is meant."""
        facts = call.facts
        return (
            (self.method is None or self.method.upper() == call.method)
            and (self.path is None or _path_covers(self.path, call.path))
            and (self.account is None or self.account.removeprefix("act_") == facts.account)
            and (self.audience is None or self.audience == facts.audience)
            and (self.token is None or (call.token is not None and self._names_token(call.token)))
            and (self.cell is None or _holds(call, self.cell))
        )

    def _names_token(self, token: str) -> bool:
        return self.token in {token, digest_of(token)}


def _holds(call: Call, cell: str) -> bool:
    try:
        payload = call.params.structure("payload")
    except Refusal:
        return False
    rows = payload.get("data") if isinstance(payload, dict) else None
    return isinstance(rows, list) and any(isinstance(row, list) and cell in row for row in rows)


def _path_covers(pattern: str, path: str) -> bool:
    if not any(sign in pattern for sign in "*?["):
        return pattern in path
    _, segments = split_path(path)
    return fnmatchcase(path, pattern) or fnmatchcase("/" + "/".join(segments), pattern)


@dataclass(frozen=True)
class Script:
    """What happens to a matched call.

    A call is processed unless the script answers in its place: with `code`, `body`, `status`, `hang`, or a reset
    before. `delay_ms`, `headers` and `truncate` work on whatever answer results.
    """

    status: int | None = None
    code: int | None = None
    subcode: int | None = None
    transient: bool | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | dict[str, object] | list[object] | None = None
    delay_ms: float = 0
    truncate: int | None = None
    reset: Reset | None = None
    hang: bool = False

    @property
    def replaces_processing(self) -> bool:
        """Whether the call has no effect because the script answers, or nobody does."""
        answers = self.status is not None or self.code is not None or self.body is not None
        return self.hang or self.reset is Reset.BEFORE or (answers and self.reset is None)

    def refusal(self) -> Refusal | None:
        """The scripted error envelope, if a code is scripted."""
        if self.code is None:
            return None
        return Refusal(self.code, status=self.status, subcode=self.subcode, transient=self.transient)


@dataclass
class Fault:
    """A scripted fault and how often it matched and fired; `times` `None` is without end."""

    id: int
    match: Match
    script: Script
    times: int | None
    after: int
    definition: dict[str, object] = field(repr=False)
    matched: int = 0
    fired: int = 0

    def shown(self) -> dict[str, object]:
        """The fault as the control side lists it; the definition is repeated as it was given."""
        return {"id": self.id, **self.definition, "matched": self.matched, "fired": self.fired}


class Faults:
    """The scripted faults, first defined first served."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._next_id = 1

    def add(self, value: object) -> Fault:
        """Define a fault.

        Raises:
            Malformed: A name or value is not understood, or there are too many faults.
        """
        if len(self._faults) >= MOST_FAULTS:
            raise Malformed(f"faults: {MOST_FAULTS} are defined already; delete some")
        fault = _parse(self._next_id, value)
        self._faults[fault.id] = fault
        self._next_id += 1
        return fault

    def take(self, call: Call) -> Fault | None:
        """The fault that fires for *call*, counted; `None` for a call that is left alone."""
        for fault in self._faults.values():
            if fault.fired == fault.times or not fault.match.covers(call):
                continue
            fault.matched += 1
            if fault.matched > fault.after:
                fault.fired += 1
                return fault
        return None

    def get(self, fault_id: int) -> Fault | None:
        """The fault of that id."""
        return self._faults.get(fault_id)

    def list(self) -> list[Fault]:
        """All faults, also those that fired out."""
        return list(self._faults.values())

    def remove(self, fault_id: int | None = None) -> bool:
        """Forget one fault, or all of them; whether there was one."""
        if fault_id is not None:
            return self._faults.pop(fault_id, None) is not None
        had = bool(self._faults)
        self._faults.clear()
        return had


def _parse(fault_id: int, value: object) -> Fault:
    given = checked(value, {"match": (dict,), "times": (int,), "after": (int,), "answer": (dict,)}, "fault")
    not_negative(given, "fault")
    match = checked(given.get("match", {}), MATCH_NAMES, "fault.match")
    endless = isinstance(value, dict) and "times" in value and value["times"] is None
    return Fault(
        id=fault_id,
        match=Match(**{name: str(text) for name, text in match.items()}),
        script=_script(checked(given.get("answer", {}), ANSWER_NAMES, "fault.answer")),
        times=None if endless else int(str(given.get("times", 1))),
        after=int(str(given.get("after", 0))),
        definition=_without_token(given),
    )


def _script(given: dict[str, object]) -> Script:
    not_negative({name: given[name] for name in ("delay_ms", "truncate") if name in given}, "fault.answer")
    if not given:
        raise Malformed("fault.answer: says nothing; give at least one of " + ", ".join(ANSWER_NAMES))
    status = given.get("status")
    if isinstance(status, int) and not 200 <= status <= 599:
        raise Malformed("fault.answer.status: must be between 200 and 599")
    if float(str(given.get("delay_ms", 0))) > MOST_DELAY_MS:
        raise Malformed(f"fault.answer.delay_ms: at most {MOST_DELAY_MS}; use hang for longer")
    if given.get("reset") not in {None, "before", "after"}:
        raise Malformed('fault.answer.reset: must be "before" or "after"')
    headers = given.get("headers", {})
    texts = {str(name): str(text) for name, text in headers.items()} if isinstance(headers, dict) else {}
    if any(sign in text for pair in texts.items() for text in pair for sign in "\r\n\0"):
        raise Malformed("fault.answer.headers: a header may not contain a line break")
    reset = Reset(given["reset"]) if "reset" in given else None
    return Script(**{**given, "headers": texts, "reset": reset})  # type: ignore[arg-type]  # `checked` proved the types


def _without_token(given: dict[str, object]) -> dict[str, object]:
    """The definition fit for showing: a token given in full is shown by its digest."""
    match = given.get("match")
    if not isinstance(match, dict) or not isinstance(match.get("token"), str):
        return given
    token = match["token"]
    return {**given, "match": {**match, "token": token if len(token) == 12 else digest_of(token)}}
