"""The first records of a file, looked at before anything of its delivery is sent: is it what its owner says it is?

A file that is declared wrongly (hashes as plain addresses, days as months) matches nobody, and nobody would notice for
weeks. So a delivery with such a file is refused as a whole, with a report that says in words what to fix.
"""

import asyncio
from datetime import datetime
from typing import Any

from connector.audience.heads import Look, parts_of
from connector.audience.layouts import reading_of
from connector.audience.preflight import Preflight, Thresholds, preflight
from connector.files.limits import Limits
from connector.objects.ranged import open_ranged
from connector.objects.store import ObjectStore
from schemas.events import DeliveryRequested, Reason
from services.ingest import plan
from services.ingest.files import PlannedFile
from services.ingest.states import NO_VALID_RECORD

READ_SECONDS = 60.0
"""How long one read of the file may take."""

REPORTED_REJECTS = 20
"""Rejected records and cells that a report names one by one."""

REFUSED = "preflight_refused"
ADVICE = (
    "fix the file or its mapping, look at it with `fbc preview`, then publish it again with a new revision; the API has"
    " the report on each file, under files"
)


class PreflightLook:
    """Looks at files before they are planned: *records* of each, refused above *thresholds*."""

    def __init__(self, *, records: int, thresholds: Thresholds, limits: Limits) -> None:
        self._records = records
        self._thresholds = thresholds
        self._limits = limits

    @property
    def records(self) -> int:
        """How many records of a file are looked at."""
        return self._records

    async def at(
        self, store: ObjectStore, event: DeliveryRequested, file: PlannedFile, *, value_based: bool, now: datetime
    ) -> Preflight:
        """What the beginning of the pinned version of *file* looks like.

        Raises:
            StoreError: It could not be read, for now or for good.
            Corrupt: It is not of its compression.
            UnreadableParquet: It is not Parquet, or damaged.
            LimitViolated: It is more than it may be.
            Refused: Not one record of it can be read.
        """
        reading = reading_of(event.layout, event.mapping)
        delimiter = event.mapping.delimiter if event.mapping is not None else None
        look = Look(reading, now.year, self._records, value_based, delimiter)
        opened = await open_ranged(store, file.key, file.etag or "", seconds=READ_SECONDS)

        def judged() -> Preflight:
            parts = parts_of(opened, file.kind, look, self._limits)
            mapped = event.mapping is not None
            return preflight(parts, reading, mapped=mapped, thresholds=self._thresholds, this_year=now.year)

        return await asyncio.to_thread(judged)


def stored(found: Preflight, records: int) -> dict[str, Any]:
    """What is kept of a look at *records* records at most: counts, columns and advice, nobody's data. Pure."""
    return {"records": found.records, "is_whole": found.records < records, **found.report(REPORTED_REJECTS)}


def refusal(file_name: str, report: dict[str, Any]) -> Reason | None:
    """Why a delivery is refused whose file *file_name* was reported so; None when it is not. Pure.

    A file that was seen whole, and of which no column is at fault but no record is usable, is let through: nothing of
    it is sent, every record of it is accounted for, and its delivery ends as one without a valid record.
    """
    if not report["would_refuse"]:
        return None
    worst = report["warnings"][0]
    is_hopeless = worst["column"] is None and not report["coverage"]
    if is_hopeless and report["is_whole"]:
        return None
    code = NO_VALID_RECORD.code if is_hopeless else REFUSED
    return plan.reason(code, f"{file_name}: {worst['advice']}", ADVICE)
