"""What state a file and a delivery are in, decided from what the ledger counted. Pure.

Nothing here is remembered: a state is always derived from the plan and the settlements, so it cannot drift from them.

    accepted -> planning -> uploading -> (waiting) -> delivered | partly_delivered | failed | cancelled
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from schemas.events import DeliveryState, Reason, Totals


class Planning(StrEnum):
    """How far a file's plan is. `planned` and `failed` are final."""

    PENDING = "pending"
    PLANNING = "planning"
    PLANNED = "planned"
    FAILED = "failed"


class Settlement(StrEnum):
    """What became of a chunk. `open` and `waiting` chunks may still move, the others are final."""

    OPEN = "open"
    DELIVERED = "delivered"
    WAITING = "waiting"
    DEAD = "dead"


class FileState(StrEnum):
    """The life of a file within its delivery, as its owner sees it."""

    PENDING = "pending"
    PLANNING = "planning"
    UPLOADING = "uploading"
    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True)
class FileFacts:
    """What the ledger counted for one file.

    `totals` are records; `chunks`, `open`, `waiting` and `dead` are chunks. `plan_failure` is set when planning failed,
    `death` and `wait` come from the file's first chunk that died or waits.
    """

    planning: Planning
    totals: Totals
    chunks: int = 0
    open: int = 0
    waiting: int = 0
    dead: int = 0
    plan_failure: Reason | None = None
    death: Reason | None = None
    wait: Reason | None = None

    @property
    def settled(self) -> int:
        """Chunks that will not move any more without an operator."""
        return self.chunks - self.open - self.waiting

    @property
    def unplanned(self) -> bool:
        """Whether chunks may still be added."""
        return self.planning in {Planning.PENDING, Planning.PLANNING}

    @property
    def broken(self) -> bool:
        """Whether valid records of this file may not have arrived: its planning failed, or a chunk was given up."""
        return self.planning is Planning.FAILED or self.dead > 0


@dataclass(frozen=True)
class Verdict:
    """The state a delivery is in, and why when that needs saying."""

    state: DeliveryState
    reason: Reason | None = None


NO_VALID_RECORD = Reason(
    code="no_valid_record",
    message="not one record could be delivered: all were rejected, or invalid for Meta",
    advice="look at the reject reasons of each file: the layout of the delivery must be the layout of the files",
)
UNEXPLAINED_DEATH = Reason(
    code="chunk_died", message="a part of the file was given up", advice="look into the dead-letter topic of the chunks"
)
UNEXPLAINED_WAIT = Reason(
    code="waiting", message="a part of the file waits for a person", advice="look at the profile of this delivery"
)


def ended(state: DeliveryState) -> bool:
    """Whether nothing more will happen to a delivery in *state*."""
    match state:
        case DeliveryState.ACCEPTED | DeliveryState.PLANNING | DeliveryState.UPLOADING | DeliveryState.WAITING:
            return False
        case DeliveryState.DELIVERED | DeliveryState.PARTLY_DELIVERED | DeliveryState.FAILED | DeliveryState.CANCELLED:
            return True
        case _:
            assert_never(state)


def may_follow(before: DeliveryState, after: DeliveryState) -> bool:
    """Whether a delivery may go from *before* to *after*: an end is final, and nothing becomes `accepted` again."""
    return not ended(before) and (after is not DeliveryState.ACCEPTED or before is DeliveryState.ACCEPTED)


def file_state(facts: FileFacts) -> FileState:
    """The state of one file.

    A file whose records were all refused is `failed` for its owner. It does not spoil the delivery it belongs to: all
    its valid records, none, have arrived.
    """
    match facts.planning:
        case Planning.PENDING:
            return FileState.PENDING
        case Planning.PLANNING:
            return FileState.PLANNING
        case Planning.FAILED:
            return FileState.FAILED
        case Planning.PLANNED:
            return _planned_file_state(facts)
        case _:
            assert_never(facts.planning)


def _planned_file_state(facts: FileFacts) -> FileState:
    if facts.open:
        return FileState.UPLOADING
    if facts.waiting:
        return FileState.WAITING
    if facts.dead or not facts.totals.accepted:
        return FileState.FAILED
    return FileState.DELIVERED


def file_reason(facts: FileFacts) -> Reason | None:
    """Why a file failed or waits; None while nothing needs explaining."""
    if facts.planning is Planning.FAILED:
        return facts.plan_failure
    match file_state(facts):
        case FileState.FAILED:
            return (facts.death or UNEXPLAINED_DEATH) if facts.dead else NO_VALID_RECORD
        case FileState.WAITING:
            return facts.wait or UNEXPLAINED_WAIT
        case FileState.PENDING | FileState.PLANNING | FileState.UPLOADING | FileState.DELIVERED:
            return None


def assess(files: Sequence[FileFacts]) -> Verdict:
    """The state of a delivery whose destination is known, from its *files* in order.

    It has ended when every file is planned or failed and no chunk is open or waiting. `waiting` means that nothing
    moves without a person: while a chunk is still open the delivery is `uploading`.
    """
    if any(file.unplanned for file in files):
        return Verdict(DeliveryState.PLANNING)
    if any(file.open for file in files):
        return Verdict(DeliveryState.UPLOADING)
    if any(file.waiting for file in files):
        waits = (file.wait for file in files if file.waiting)
        return Verdict(DeliveryState.WAITING, next((wait for wait in waits if wait), UNEXPLAINED_WAIT))
    return _end(files)


def _end(files: Sequence[FileFacts]) -> Verdict:
    """How it ended: rejected and invalid records are counted and do not change the state, missing ones do."""
    if not any(file.totals.accepted for file in files):
        reasons = (file_reason(file) for file in files)
        return Verdict(DeliveryState.FAILED, next((reason for reason in reasons if reason), NO_VALID_RECORD))
    broken = [file for file in files if file.broken]
    if broken:
        return Verdict(DeliveryState.PARTLY_DELIVERED, file_reason(broken[0]) or UNEXPLAINED_DEATH)
    return Verdict(DeliveryState.DELIVERED)


def total(files: Sequence[Totals]) -> Totals:
    """The sum of *files*, place by place."""
    return Totals(**{name: sum(getattr(file, name) for file in files) for name in Totals.model_fields})


def settlement_applies(current: Settlement, *, settled_before: bool, outdated: bool = False) -> bool:
    """Whether an outcome that was not seen before changes a chunk in *current*.

    A chunk settles once. What waits may still be delivered, die, or wait for something else; what was delivered or
    given up stays so, whatever arrives late. *settled_before* says that this very outcome was applied already,
    *outdated* that the chunk was sent again since and that this does not answer for it.
    """
    if outdated:
        return False
    match current:
        case Settlement.DELIVERED | Settlement.DEAD:
            return False
        case Settlement.OPEN | Settlement.WAITING:
            return not settled_before
        case _:
            assert_never(current)
