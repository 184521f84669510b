"""The log of calls: what the emulator saw, bounded, without a token or a person in it."""

from collections import deque
from dataclasses import dataclass
from itertools import islice

MOST_CALLS = 200_000


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One line of the log.

    Attributes:
        seq: 1, 2, 3 … since the start or the last reset.
        time: Wall clock at arrival, unix seconds.
        method: What the call meant; `POST` with `method=DELETE` is a `DELETE`.
        path: As received, without the query.
        account: `act_…`, when the call belongs to one.
        audience: Audience id, when it has one.
        token: First 12 hex digits of the token's SHA-256.
        rows: Rows in the request.
        invalid: How many of them were refused.
        session: Upload session, the client's or the invented one.
        status: HTTP status; `None` when no complete answer was sent.
        code: Graph error code; `None` when there was none.
        subcode: Graph error subcode.
        fault: Id of the scripted fault that shaped the answer.
        batched: Whether the call was an item of a batch.
    """

    seq: int
    time: float
    method: str
    path: str
    account: str | None
    audience: str | None
    token: str | None
    rows: int
    invalid: int
    session: str | None
    status: int | None
    code: int | None
    subcode: int | None
    fault: int | None
    batched: bool


class CallLog:
    """The newest calls; the oldest are dropped beyond the bound."""

    def __init__(self, bound: int = MOST_CALLS) -> None:
        self._records: deque[CallRecord] = deque(maxlen=bound)
        self.seen = 0

    def next_seq(self) -> int:
        """The number of the call that is about to be recorded."""
        self.seen += 1
        return self.seen

    def append(self, record: CallRecord) -> None:
        """Add a record."""
        self._records.append(record)

    def since(self, seq: int) -> list[CallRecord]:
        """Records after *seq*: numbers start at 1, so an earlier answer's length does as well as its last `seq`."""
        if not self._records:
            return []
        skip = max(0, seq - self._records[0].seq + 1)
        return list(islice(self._records, skip, None))

    def clear(self) -> None:
        """Forget everything and count from 1 again."""
        self._records.clear()
        self.seen = 0
