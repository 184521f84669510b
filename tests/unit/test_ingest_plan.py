"""The decisions of planning: what is refused, which object is the announced one, what a chunk event says."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from connector.files.cutting import Checkpoint, Chunk, TooLong
from connector.files.formats import FileKind
from connector.objects import errors
from connector.objects.store import ObjectInfo
from schemas.events import (
    DeliveryKind,
    DeliveryRequested,
    DeliveryState,
    FileRef,
    Format,
    Operation,
    QuickSettings,
    Reject,
)
from services.ingest import plan
from services.ingest.deliveries import content_of
from services.ingest.plan import Destination
from services.ingest.publication import delivery_record

PROFILE = UUID("5b0f9c1e-7a44-4f0e-9f61-0d8b3f3f2c11")
CONNECTION = UUID("c0a8f1d2-1c57-4a44-8a8e-6f6f0b1f9d22")
FILE = FileRef(name="a.ndjson", store="local", key="a.ndjson")
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
TARGET = Destination("act_1", "23850000000000001")


def event(**changes: Any) -> DeliveryRequested:
    """A delivery of one file."""
    document: dict[str, Any] = {
        "revision": 7,
        "kind": DeliveryKind.SNAPSHOT_APPENDED,
        "company_id": 1,
        "profile_id": PROFILE,
        "connection_id": CONNECTION,
        "files": (FILE,),
        **changes,
    }
    return DeliveryRequested(**document)


class TestRefused:
    def test_an_ordinary_delivery_is_planned(self) -> None:
        """Nothing stands in the way of an add, a remove or a replacement."""
        for operation in Operation:
            assert plan.refused(event(operation=operation)) is None

    @pytest.mark.parametrize("asked", [None, False])
    def test_history_is_delivered_only_when_asked_for(self, asked: bool | None) -> None:  # noqa: FBT001 -- a setting
        """A connection without historical data has nothing to deliver yet: cancelled, not failed."""
        quick = QuickSettings(historical_data_enabled=asked)
        ending = plan.refused(event(kind=DeliveryKind.CONNECTION_CREATED, quick_settings=quick, files=()))
        assert ending is not None
        assert (DeliveryState.CANCELLED, "history_not_requested") == (ending.state, ending.reason.code)

    def test_history_that_was_asked_for_is_planned(self) -> None:
        """With historical data a new connection is a delivery like any other."""
        quick = QuickSettings(historical_data_enabled=True)
        assert plan.refused(event(kind=DeliveryKind.CONNECTION_CREATED, quick_settings=quick)) is None

    def test_history_without_files_fails(self) -> None:
        """Asked for and not there is an error somebody should hear of."""
        quick = QuickSettings(historical_data_enabled=True)
        ending = plan.refused(event(kind=DeliveryKind.CONNECTION_CREATED, quick_settings=quick, files=()))
        assert ending is not None
        assert (DeliveryState.FAILED, "no_files") == (ending.state, ending.reason.code)


class TestOpened:
    @pytest.mark.parametrize(
        ("announced", "code"),
        [
            ({}, None),
            ({"bytes": 10, "etag": "abc"}, None),
            ({"etag": '"abc"'}, None),
            ({"bytes": 11}, "object_changed"),
            ({"etag": "abd"}, "object_changed"),
        ],
    )
    def test_what_was_announced_must_hold(self, announced: dict[str, Any], code: str | None) -> None:
        """Another size or etag is another object; quotes around an etag are not."""
        reason = plan.opened(FILE.model_copy(update=announced), ObjectInfo(size=10, etag="abc"))
        assert code == (reason.code if reason else None)

    def test_an_object_of_no_bytes_is_an_empty_file(self) -> None:
        """Without one record there is nothing to deliver, and its owner hears of it."""
        reason = plan.opened(FILE, ObjectInfo(size=0, etag="abc"))
        assert reason is not None
        assert "empty_file" == reason.code

    def test_a_file_of_blank_lines_is_empty_too(self) -> None:
        """Bytes are not records."""
        reason = plan.finished(FILE, Checkpoint(offset=3, records=0, lines=3))
        assert reason is not None
        assert "empty_file" == reason.code
        assert plan.finished(FILE, Checkpoint(offset=3, records=1, lines=1)) is None

    @pytest.mark.parametrize(
        "error",
        [
            errors.UnknownStore("store 'x' is not configured here"),
            errors.InvalidKey("key '/x' is absolute"),
            errors.ObjectMissing("'x': gone"),
            errors.ObjectChanged("'x' changed"),
            errors.ObjectTruncated("'x' ended"),
            errors.StoreRefused("403"),
        ],
    )
    def test_every_refusal_of_a_store_has_its_own_advice(self, error: errors.StoreError) -> None:
        """The file, what happened, and what to do."""
        reason = plan.unreadable(FILE, error)
        assert error.code == reason.code
        assert "a.ndjson" in reason.message
        assert reason.advice == plan.ADVICE[error.code]

    def test_texts_are_clipped_to_what_an_event_may_carry(self) -> None:
        """A store with much to say does not make an event nobody can write."""
        reason = plan.unreadable(FILE, errors.StoreRefused("x" * 10_000))
        assert 512 == len(reason.message)


class TestChunkEvents:
    def test_a_chunk_names_its_range_and_its_destination(self) -> None:
        """Everything the uploader needs, and not one record."""
        chunk = Chunk(start=100, end=300, first_record=11, first_line=13, records=5)
        ready = plan.chunk_ready(
            event(),
            TARGET,
            file_index=0,
            etag="abc",
            chunk_index=2,
            chunk=chunk,
            kind=FileKind(Format.NDJSON),
            table=None,
        )
        assert "7/0/2" == ready.chunk_id
        assert (100, 300, 11, 13, 5) == (
            ready.range.start,
            ready.range.end,
            ready.first_record,
            ready.first_line,
            ready.records,
        )
        assert ("act_1", "23850000000000001", "abc") == (ready.ad_account_id, ready.audience_id, ready.etag)
        assert PROFILE == ready.profile_id

    def test_a_line_that_is_too_long_is_a_reject_and_in_no_chunk(self) -> None:
        """Number and line for its owner, nothing for the uploader."""
        chunk = Chunk(start=0, end=10, first_record=1, first_line=1, records=1)
        stretch = plan.cut([chunk, TooLong(record=2, line=3)])
        assert (chunk,) == stretch.chunks
        assert (Reject(record=2, line=3, reason="line_too_long"),) == stretch.rejects


class TestIdentity:
    def test_what_is_said_explicitly_is_the_same_as_left_out(self) -> None:
        """Defaults written out, or a field this version does not know, do not make another delivery."""
        document = event().model_dump(mode="json", exclude_defaults=True)
        explicit = event().model_dump(mode="json") | {"something_new": 1}
        assert content_of(DeliveryRequested(**document)) == content_of(DeliveryRequested(**explicit))

    @pytest.mark.parametrize(
        "changes",
        [{"company_id": 2}, {"operation": "remove"}, {"files": (FILE, FILE)}, {"layout": "narrative-legacy"}],
    )
    def test_other_content_is_another_delivery(self, changes: dict[str, Any]) -> None:
        """Whatever would change what is delivered changes the content."""
        assert content_of(event()) != content_of(event(**changes))

    def test_deliveries_of_one_connection_share_a_key(self) -> None:
        """Their order on the topic is the order they were published in."""
        first = delivery_record(event(), now=MOMENT, traceparent=None)
        second = delivery_record(event(revision=8), now=MOMENT, traceparent=None)
        assert str(CONNECTION).encode() == first.key == second.key
        assert dict(first.headers)["ce_id"] != dict(second.headers)["ce_id"]
