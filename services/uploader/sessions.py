"""Upload sessions: how the calls for a chunk are numbered. Pure.

Meta counts received and invalid rows per session. Adding and removing, a chunk's batches are one session, and each half
of a refused batch is one of its own. Replacing, all chunks of a delivery share one session, named by what is the same
for all of them: revision, audience and emission.
"""

from dataclasses import dataclass
from typing import Protocol

from connector.graph.errors import GraphError
from connector.graph.protocol import MemberOperation, Session, session_id
from schemas.events import ChunkReady, Layout, ReplaceBatch
from schemas.match_keys import DOB, MatchKey

NUMBERS_PER_ATTEMPT = 64
NUMBERS_PER_CHUNK = 64 * NUMBERS_PER_ATTEMPT
"""A number is not used for two different bodies: whether Meta drops a repeated one unseen is unknown. A chunk may take
more than one call (many rows, halves of a refused batch), and the next attempt may divide it otherwise."""

UPDATE_REFUSED = 2650
NOT_SEEN, FAILED, EXPIRED, FINISHED = 1870147, 1870148, 1870158, 1870159
"""Its subcodes (Meta's usersreplace reference)."""


@dataclass(frozen=True)
class SessionOver:
    """The replacement's session takes no more: all of it has to begin again in a new one."""

    message: str


class Opened(Protocol):
    """A session that has begun."""

    def batch(self, *, ends_session: bool, ends_chunk: bool) -> Session:
        """The place of its next call."""
        ...


class Sessions(Protocol):
    """Numbers the calls of one attempt."""

    @property
    def shared(self) -> bool:
        """Whether other chunks use the same session, whose counts then say nothing about this chunk alone."""
        ...

    @property
    def may_repeat(self) -> bool:
        """Whether `refused` may ask for the same call again in another place."""
        ...

    def begin(self, rows: int) -> Opened:
        """The session of calls that belong together and send so many rows."""
        ...

    def taken(self) -> None:
        """Meta took a call of this attempt."""
        ...

    def refused(self, error: GraphError, session: Session) -> Session | SessionOver | None:
        """What a refusal says about the session: another place for the same call, its end, or nothing."""
        ...


@dataclass
class _OwnSession:
    number: int
    rows: int
    batches: int = 0

    def batch(self, *, ends_session: bool, ends_chunk: bool) -> Session:  # noqa: ARG002 -- of interest to the other kind
        """See `Opened`."""
        self.batches += 1
        return Session(self.number, self.batches, last=ends_session, estimated_total=self.rows)


@dataclass
class ChunkSessions:
    """Adding or removing. The ids are derived: the same attempt, redelivered, names the same sessions."""

    chunk: ChunkReady
    operation: MemberOperation
    attempt: int
    shared: bool = False
    may_repeat: bool = False
    _sessions: int = 0

    def begin(self, rows: int) -> Opened:
        """See `Sessions`."""
        self._sessions += 1
        chunk = self.chunk
        number = session_id(chunk.chunk_id, chunk.audience_id, self.operation, self.attempt, self._sessions)
        return _OwnSession(number, rows)

    def taken(self) -> None:
        """See `Sessions`."""

    def refused(self, error: GraphError, session: Session) -> None:
        """See `Sessions`."""


@dataclass
class ReplaceSession:
    """Replacing. Batch 1 begins the session and may not be repeated, all others may.

    So an attempt that may not be the first one to send batch 1 sends its rows under another number: if Meta has not
    seen batch 1 it says so, and then they are sent as that. If it has, the rows arrive twice, which changes nothing.
    """

    chunk: ChunkReady
    place: ReplaceBatch
    attempt: int
    shared: bool = True
    _parts: int = 0
    _begun: bool = False

    @property
    def may_repeat(self) -> bool:
        """See `Sessions`."""
        return self.place.number == 1

    def begin(self, rows: int) -> Opened:  # noqa: ARG002 -- Meta closes it when it is told the last call
        """See `Sessions`."""
        return self

    def batch(self, *, ends_session: bool, ends_chunk: bool) -> Session:  # noqa: ARG002 -- of interest to the other kind
        """See `Opened`."""
        self._parts += 1
        return self._session(self._number(), last=ends_chunk and self.place.number == self.place.total)

    def taken(self) -> None:
        """See `Sessions`."""
        self._begun = True

    def refused(self, error: GraphError, session: Session) -> Session | SessionOver | None:
        """See `Sessions`."""
        if error.code != UPDATE_REFUSED:
            return None
        if self.place.number == 1 and session.batch_seq == 1 and error.subcode == FAILED:
            self._parts += 1
            return self._session(self._number(), last=session.last)
        if self.place.number == 1 and session.batch_seq != 1 and error.subcode == NOT_SEEN and not self._begun:
            return self._session(1, last=session.last)
        return SessionOver(error.title or error.message) if error.subcode in {NOT_SEEN, EXPIRED, FINISHED} else None

    def _number(self) -> int:
        attempt = min(self.attempt, NUMBERS_PER_CHUNK // NUMBERS_PER_ATTEMPT)
        return (self.place.number - 1) * NUMBERS_PER_CHUNK + (attempt - 1) * NUMBERS_PER_ATTEMPT + self._parts

    def _session(self, batch_seq: int, *, last: bool) -> Session:
        chunk = self.chunk
        number = session_id(chunk.revision, chunk.audience_id, MemberOperation.REPLACE, chunk.emission)
        return Session(number, batch_seq, last=last, estimated_total=None)


def replace_schema(chunk: ChunkReady) -> tuple[str, ...]:
    """The keys every call of a replacement names, whichever its rows hold: the schema may not change in a session.

    Without EXTERN_ID when other identifiers are mapped: an empty cell of it makes the whole row invalid.
    """
    if chunk.layout is not Layout.COLUMNS or chunk.mapping is None:
        return NARRATIVE
    mapped = {str(column.key) for column in chunk.mapping.columns.values()}
    if DOB in mapped:
        mapped |= {MatchKey.DOBY, MatchKey.DOBM, MatchKey.DOBD}
    if MatchKey.FN in mapped:
        mapped.add(MatchKey.FI)
    if mapped & (IDENTIFIERS - {MatchKey.EXTERN_ID}):
        mapped.discard(MatchKey.EXTERN_ID)
    return tuple(key.value for key in MatchKey if key in mapped)


NARRATIVE = tuple(
    key.value
    for key in (
        MatchKey.EMAIL,
        MatchKey.GEN,
        MatchKey.DOBY,
        MatchKey.DOBM,
        MatchKey.DOBD,
        MatchKey.LN,
        MatchKey.FN,
        MatchKey.FI,
        MatchKey.COUNTRY,
        MatchKey.MADID,
    )
)
IDENTIFIERS = frozenset(
    {
        MatchKey.EMAIL,
        MatchKey.PHONE,
        MatchKey.MADID,
        MatchKey.EXTERN_ID,
        MatchKey.UID,
        MatchKey.APPUID,
        MatchKey.PAGEUID,
    }
)
