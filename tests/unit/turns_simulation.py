"""Chunks of one account that wait for its turn in virtual time: in memory, or in a delay topic and back again."""

from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

from services.uploader.governor import Admitted, Wait
from services.uploader.retrying import RetryPolicy, may_stay
from services.uploader.room import WaitingRoom
from tests.unit.governor_simulation import Simulation


@dataclass
class Line:
    """Chunks that were read and are begun in turn, by so many handlers at once."""

    handlers: int
    chunks: deque[int] = field(default_factory=deque)
    busy: int = 0


class Backlog(Simulation):
    """So many chunks of an account lie in the topic; those that may not wait in memory come back through a tier.

    `away` counts how often each was sent away, `longest` is the longest wait in memory, `crowd` the most that waited.
    """

    def __init__(self, account: str, budget: int, chunks: int, policy: RetryPolicy, *, latency: float = 1.0) -> None:
        self._policy = policy
        self._main, self._tier = Line(16, deque(range(chunks))), Line(4)
        self._room = WaitingRoom(4)
        self._placed: dict[int, tuple[Line, int]] = {}
        self.away = [0] * chunks
        self.done = 0
        self.longest, self.crowd = 0.0, 0
        super().__init__({account: budget}, latency=latency)

    def _ask(self, account: str) -> None:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        for line in (self._main, self._tier):
            while line.chunks and line.busy < line.handlers:
                line.busy += 1
                self._turn(account, line, line.chunks.popleft(), came=self.now)

    def _turn(
        self, account: str, line: Line, chunk: int, *, came: float, seat: AbstractContextManager[None] | None = None
    ) -> None:
        if seat is not None:
            seat.__exit__(None, None, None)
        answer, waited = self.governor.admit(account, self.now), self.now - came
        self.longest = max(self.longest, waited)
        if isinstance(answer, Admitted):
            self._placed[id(answer)] = line, chunk
            self._call(answer)
            return
        seconds = answer.behind(self._room.waiting(account))
        if self._stays(answer, account, seconds, waited):
            seat = self._room.seat(account)
            seat.__enter__()
            self.crowd = max(self.crowd, self._room.waiting(account))
            self._later(answer.seconds, partial(self._turn, account, line, chunk, came=came, seat=seat))
            return
        self.away[chunk] += 1
        self._later(
            self._room.sent_away(account, max(seconds, waited), self.now), partial(self._returns, account, chunk)
        )
        self._left(account, line)

    def _stays(self, answer: Wait, account: str, seconds: float, waited: float) -> bool:
        room = self._room.has_room(account)
        return may_stay(self._policy, seconds, waited=waited, room=room, paused=answer.paused)

    def _returns(self, account: str, chunk: int) -> None:
        self._tier.chunks.append(chunk)
        self._ask(account)

    def _left(self, account: str, line: Line) -> None:
        line.busy -= 1
        self._later(0.001, partial(self._ask, account))

    def _answered(  # type: ignore[explicit-override]  # as above
        self, place: Admitted, headers: Mapping[str, str], *, blocked: bool
    ) -> None:
        super()._answered(place, headers, blocked=blocked)
        line, chunk = self._placed.pop(id(place))
        if blocked:
            line.chunks.appendleft(chunk)
        else:
            self.done += 1
        self._left(place.account, line)
