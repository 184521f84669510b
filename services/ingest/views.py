"""The delivery API's documents, from what the ledger knows. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.events import Reason, Reject
from services.ingest.deliveries import Delivery
from services.ingest.files import PlannedFile
from services.ingest.states import FileFacts, file_reason, file_state, total


def link(revision: int) -> str:
    """Where a delivery is looked at."""
    return f"/v1/deliveries/{revision}"


def acceptance_view(delivery: Delivery) -> dict[str, Any]:
    """What the publisher of a delivery is told."""
    return {"revision": delivery.revision, "state": delivery.state, "link": link(delivery.revision)}


def delivery_view(delivery: Delivery, files: Mapping[int, FileFacts]) -> dict[str, Any]:
    """One delivery: its state, where its records are, how far it is."""
    event, destination, facts = delivery.event, delivery.destination, list(files.values())
    return {
        "revision": delivery.revision,
        "state": delivery.state,
        "audience_id": destination.audience_id if destination else None,
        "ad_account_id": destination.ad_account_id if destination else None,
        "kind": event.kind,
        "operation": event.operation,
        "profile_id": str(event.profile_id),
        "company_id": event.company_id,
        "totals": total([file.totals for file in facts]).model_dump(),
        "planned": {
            "files": len(facts),
            "files_planned": sum(not file.unplanned for file in facts),
            "chunks": sum(file.chunks for file in facts),
            "settled": sum(file.settled for file in facts),
        },
        **_reason(delivery.reason),
        "created_at": delivery.created_at,
        "updated_at": delivery.updated_at,
        **({"ended_at": delivery.ended_at} if delivery.ended_at else {}),
    }


def file_view(
    file: PlannedFile,
    facts: FileFacts,
    reject_reasons: Mapping[str, int],
    cell_rejects: Mapping[str, int],
    samples: Sequence[Reject],
) -> dict[str, Any]:
    """One file of a delivery, with why records of it were refused and which values were left out."""
    return {
        "index": file.index,
        "name": file.name,
        "store": file.store,
        "key": file.key,
        **({} if file.etag is None else {"format": file.kind.format, "compression": file.kind.compression}),
        "state": file_state(facts),
        **facts.totals.model_dump(),
        "chunks": facts.chunks,
        "settled": facts.settled,
        **_reason(file_reason(facts)),
        "reject_reasons": dict(reject_reasons),
        "cell_rejects": dict(cell_rejects),
        **({} if file.preflight is None else {"preflight": file.preflight}),
        "rejects": [sample.model_dump(exclude_none=True) for sample in samples],
    }


def _reason(reason: Reason | None) -> dict[str, Any]:
    return {} if reason is None else {"reason": reason.model_dump()}
