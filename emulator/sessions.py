"""Pure: upload sessions, whose running totals Meta reports, and the rules of a replace session.

Time is an argument, in emulated unix seconds.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum

from emulator.members import Members
from emulator.people import Batch
from emulator.protocol import Params
from emulator.refusals import Refusal, invalid_parameter, replace_refused

REPLACE_SECONDS = 90 * 60
"""A replace closes itself this long after its first batch (Meta reference: usersreplace)."""

MOST_SESSIONS = 10_000
"""Sessions remembered per audience; the oldest are forgotten, as nobody asks for them by then."""


@dataclass(frozen=True)
class SessionParam:
    """The `session` parameter of a member request."""

    session_id: int
    batch_seq: int | None
    last: bool


def read_session(params: Params) -> SessionParam | None:
    """Read the `session` parameter, all of whose numbers may be text.

    Raises:
        Refusal: Code 100, it is malformed; `batch_seq` may be missing (observed: the Data File Uploader).
    """
    value = params.structure("session")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid_parameter("Param session must be an object")
    inner = Params(value)
    session_id, sequence = inner.integer("session_id"), inner.integer("batch_seq")
    if session_id is None or not 0 < session_id < 1 << 63:
        raise invalid_parameter("Param session[session_id] must be a positive 64-bit integer")
    if sequence is not None and sequence < 1:
        raise invalid_parameter("Param session[batch_seq] must be 1 or more")
    return SessionParam(session_id, sequence, last=inner.flag("last_batch_flag") or False)


def invented_session_id(operation: str, schema: str) -> str:
    """The 19-digit id the server makes up: the same for the same operation and schema (observed)."""
    number = int.from_bytes(hashlib.sha256(f"{operation} {schema}".encode()).digest()[:8])
    return str(10**18 + number % (8 * 10**18))


@dataclass
class Session:
    """What one upload session amounts to so far."""

    session_id: str
    started: float
    updated: float
    received: int = 0
    invalid: int = 0
    finished: bool = False

    def row(self) -> dict[str, object]:
        """The session as its edge lists it: all values are strings, matching is never told (observed)."""
        return {
            "session_id": self.session_id,
            "start_time": str(int(self.started)),
            "end_time": "0",
            "num_received": str(self.received),
            "num_matched": "-1",
            "num_invalid_entries": str(self.invalid),
            "progress": "0",
            "stage": "uploading",
        }


class SessionBook:
    """The sessions of one audience, newest last, bounded."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def record(self, session_id: str, batch: Batch, *, last: bool, now: float) -> Session:
        """Add one request to its session and return the running totals.

        A repeated `batch_seq` is counted again: whether Meta does is unknown, and a client must not rely on it.
        """
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = Session(session_id, now, now)
            if len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        session.received += batch.received
        session.invalid += len(batch.invalid)
        session.updated = now
        session.finished = session.finished or last
        return session

    def rows(self, session_id: str | None) -> list[dict[str, object]]:
        """The sessions as listed, newest first; only *session_id* when given."""
        return [
            session.row() for session in reversed(self._sessions.values()) if session_id in {None, session.session_id}
        ]


class Ending(Enum):
    """How a replace session ended."""

    FINISHED = "finished"
    TIMED_OUT = "timed out"


@dataclass
class Replacement:
    """A running replace: nothing changes in the audience before it ends."""

    session_id: int
    schema: str
    started: float
    staged: Members


@dataclass
class Replaces:
    """The replace sessions of one audience: at most one runs, ended ones are remembered by how they ended."""

    running: Replacement | None = None
    ended: OrderedDict[int, Ending] = field(default_factory=OrderedDict)

    def due(self, now: float) -> bool:
        """Whether the running session's 90 minutes are over."""
        return self.running is not None and now - self.running.started >= REPLACE_SECONDS

    def end(self, how: Ending) -> Members:
        """Close the running session and hand over what it staged.

        Raises:
            RuntimeError: None is running.
        """
        if self.running is None:
            raise RuntimeError("no replace session is running")
        ended, self.running = self.running, None
        self.ended[ended.session_id] = how
        if len(self.ended) > MOST_SESSIONS:
            self.ended.popitem(last=False)
        return ended.staged

    def refusal(self, session: SessionParam, schema: str) -> Refusal | None:
        """Why this batch may not be part of a replace, or `None`.

        A batch 1 that finds nothing running and no past under its id starts one; see `starts`.
        """
        how = self.ended.get(session.session_id)
        if how is Ending.FINISHED:
            return replace_refused(1870159, "The replace session is already finished; start a new one.")
        if how is Ending.TIMED_OUT:
            return replace_refused(1870158, "The replace session timed out after 90 minutes; start a new one.")
        if self.running is None:
            return None if session.batch_seq == 1 else _first_batch_missing()
        if self.running.session_id != session.session_id:
            return replace_refused(1870145, "Another update of the audience is running.")
        if session.batch_seq == 1:
            return replace_refused(1870148, "The first batch of a replace session may not be repeated.")
        if self.running.schema != schema:
            return replace_refused(1870148, "The schema must stay the same inside a replace session.")
        return None

    def starts(self, session: SessionParam) -> bool:
        """Whether an allowed batch is the first of its replace."""
        return self.running is None and session.batch_seq == 1


def _first_batch_missing() -> Refusal:
    return replace_refused(1870147, "The first batch of the replace session was not received.")
