"""One golden sample per event: what a typical one looks like, frozen into files when a version is released.

Identifiers are invented; people appear in none of these (events carry references, not records).
"""

from datetime import UTC, datetime
from uuid import UUID

from schemas import events
from schemas.registry import (
    CHUNK_READY,
    CHUNK_SETTLED,
    DELIVERY_REQUESTED,
    DELIVERY_STATUS_CHANGED,
    PROFILE_CHANGED,
    EventType,
)

PROFILE = UUID("5b0f9c1e-7a44-4f0e-9f61-0d8b3f3f2c11")
CONNECTION = UUID("c0a8f1d2-1c57-4a44-8a8e-6f6f0b1f9d22")
MOMENT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

SAMPLES: dict[EventType, events.Event] = {
    DELIVERY_REQUESTED: events.DeliveryRequested(
        revision=4711,
        kind=events.DeliveryKind.SNAPSHOT_APPENDED,
        company_id=42,
        profile_id=PROFILE,
        connection_id=CONNECTION,
        dataset_id=7,
        snapshot_id=99,
        quick_settings=events.QuickSettings(audience_name="Autumn shoppers"),
        files=(
            events.FileRef(
                name="part-0001.ndjson",
                store="local",
                key="datasets/7/99/part-0001.ndjson",
                bytes=52_428_800,
                etag="1f-3200000-5",
                format=events.Format.NDJSON,
                compression=events.Compression.NONE,
            ),
        ),
    ),
    CHUNK_READY: events.ChunkReady(
        revision=4711,
        file_index=0,
        chunk_index=3,
        company_id=42,
        profile_id=PROFILE,
        ad_account_id="act_1001",
        audience_id="23850000000000001",
        operation=events.Operation.ADD,
        layout=events.Layout.NARRATIVE_DATASET,
        file_name="part-0001.ndjson",
        store="local",
        key="datasets/7/99/part-0001.ndjson",
        etag="1f-3200000-5",
        range=events.ByteRange(start=7_864_320, end=10_485_760),
        first_record=30_001,
        first_line=30_003,
        records=10_000,
    ),
    CHUNK_SETTLED: events.ChunkSettled(
        revision=4711,
        file_index=0,
        chunk_index=3,
        ad_account_id="act_1001",
        audience_id="23850000000000001",
        outcome=events.Delivered(),
        counts=events.ChunkCounts(records=10_000, accepted=9_998, invalid=1, rejected=1),
        reject_reasons={"malformed_json": 1},
        cell_rejects={"EMAIL:not_a_hash": 3},
        rejects=(events.Reject(record=30_017, line=30_019, reason="malformed_json"),),
        calls=1,
        attempts=1,
        fbtrace_id="A1b2C3d4E5",
        settled_at=MOMENT,
    ),
    DELIVERY_STATUS_CHANGED: events.DeliveryStatusChanged(
        revision=4711,
        sequence=4,
        company_id=42,
        profile_id=PROFILE,
        connection_id=CONNECTION,
        state=events.DeliveryState.DELIVERED,
        audience_id="23850000000000001",
        totals=events.Totals(records=200_000, accepted=199_998, invalid=1, rejected=1),
        changed_at=MOMENT,
    ),
    PROFILE_CHANGED: events.ProfileChanged(
        profile_id=PROFILE,
        company_id=42,
        status=events.ProfileStatus.TOKEN_DEAD,
        sequence=2,
        ad_account_id="act_1001",
        reason=events.Reason(
            code="token_dead",
            message="Meta says the access token was invalidated (190/460)",
            advice="ask the customer to reconnect the account",
        ),
        changed_at=MOMENT,
    ),
}
