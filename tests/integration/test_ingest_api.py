"""The delivery API over a real socket: one answer for one delivery, clear refusals, and documents that add up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from uuid import uuid4

import pytest
from pydantic import SecretStr
from typing_extensions import override

from connector.database import engine as database
from connector.kafka import topics
from connector.kafka.events import MAX_VALUE, Encoded
from connector.kafka.producer import EventProducer, ProduceError
from connector.kafka.topics import Topic
from connector.runtime.settings import DatabaseSettings, HttpSettings
from connector.runtime.web import Health, application, serving
from schemas.events import ChunkCounts, ChunkSettled, Delivered, DeliveryRequested, Reject, Waiting
from services.ingest.accept import Acceptor
from services.ingest.clock import utc_now
from services.ingest.routes import DeliveryApi
from tests.integration.ingest_parts import Rig

pytest_plugins = ("tests.integration.ingest_fixtures",)


class MuteProducer(EventProducer):
    """A producer whose broker does not acknowledge."""

    @override
    async def __aenter__(self) -> Self:
        return self

    @override
    async def publish(self, topic: Topic, event: Encoded) -> None:
        """Refuses."""
        raise ProduceError(f"{topic.name} did not acknowledge {len(event.value)} bytes")


class Api:
    """The API as a client sees it."""

    def __init__(self, rig: Rig, url: str) -> None:
        self._rig = rig
        self._url = url

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Status and document."""
        async with self._rig.session.request(method, f"{self._url}{path}", **options) as answer:
            return answer.status, await answer.json()

    async def post(self, event: DeliveryRequested | dict[str, Any]) -> tuple[int, Any]:
        """Publishes."""
        document = event.model_dump(mode="json") if isinstance(event, DeliveryRequested) else event
        return await self.ask("POST", "/v1/deliveries", json=document)


@asynccontextmanager
async def serving_api(rig: Rig, *, producer: EventProducer | None = None, dsn: str | None = None) -> AsyncIterator[Api]:
    """The API on a free port, perhaps with a neighbour that is down."""
    settings = rig.database if dsn is None else DatabaseSettings(dsn=SecretStr(dsn))
    engine = database.create(settings, "ingest-api-test")
    api = DeliveryApi(
        releaser=rig.releaser,
        engine=engine,
        acceptor=Acceptor(engine, rig.telemetry, utc_now),
        producer=producer or rig.producer,
        clock=utc_now,
        publish_timeout=5,
    )
    app = application(Health(), rig.telemetry.registry)
    api.add_to(app)
    try:
        async with serving(app, HttpSettings()) as url:
            yield Api(rig, url)
    finally:
        await engine.dispose()


@pytest.fixture
async def api(rig: Rig) -> AsyncIterator[Api]:
    """The API with everything up."""
    async with serving_api(rig) as running:
        yield running


async def written(rig: Rig, revision: int) -> int:
    """How often a delivery is on its topic."""
    records = await rig.records(topics.DELIVERIES)
    return sum(dict(record.headers).get("ce_subject") == str(revision).encode() for record in records)


class TestPublish:
    async def test_a_delivery_is_accepted_recorded_and_on_the_topic(self, rig: Rig, api: Api) -> None:
        """202, a link, and the record that ingest itself will read."""
        event = rig.event(rig.write(1))

        status, answer = await api.post(event)

        link = f"/v1/deliveries/{event.revision}"
        assert (202, {"revision": event.revision, "state": "accepted", "link": link}) == (status, answer)
        (record,) = [one for one in await rig.records(topics.DELIVERIES) if _is_of(one, event.revision)]
        assert event == DeliveryRequested.model_validate_json(record.value or b"")
        assert str(event.connection_id).encode() == record.key
        assert 200 == (await api.ask("GET", link))[0]

    async def test_the_same_again_is_the_same_answer_and_nothing_twice(self, rig: Rig, api: Api) -> None:
        """Once planned, publishing again writes nothing."""
        event = rig.event(rig.write(1))
        first = await api.post(event)
        again = await api.post(event)
        await rig.planner().plan(event.revision)
        before = await written(rig, event.revision)

        status, later = await api.post(event)

        assert first == again
        assert (202, "uploading") == (status, later["state"])
        assert before == await written(rig, event.revision)
        assert 1 == len(await rig.chunks(event.revision))

    async def test_other_content_under_a_revision_is_a_conflict(self, rig: Rig, api: Api) -> None:
        """409 names the revision; the topic does not see the second one."""
        event = rig.event(rig.write(1))
        await api.post(event)

        status, answer = await api.post(event.model_copy(update={"company_id": 99}))

        assert (409, "revision_conflict") == (status, answer["error"]["code"])
        assert str(event.revision) in answer["error"]["message"]
        assert answer["error"]["advice"]
        assert 1 == await written(rig, event.revision)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("revision", -1),
            ("revision", "x"),
            ("files", []),
            ("operation", "explode"),
            ("profile_id", "me"),
            ("layout", "?"),
            ("files.0.store", [{"name": "a", "store": "http://127.0.0.1/x", "key": "k"}]),
        ],
    )
    async def test_what_is_no_delivery_is_refused_naming_the_field(
        self, rig: Rig, api: Api, field: str, value: object
    ) -> None:
        """422, and nothing is recorded."""
        event = rig.event(rig.write(1))
        document = event.model_dump(mode="json") | {field.split(".", maxsplit=1)[0]: value}

        status, answer = await api.post(document)

        assert 422 == status
        assert field in answer["error"]["message"]
        assert 404 == (await api.ask("GET", f"/v1/deliveries/{event.revision}"))[0]

    @pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b'"x"', b"{"])
    async def test_what_is_not_even_an_object_is_refused(self, api: Api, body: bytes) -> None:
        """422 in the one shape errors have."""
        status, answer = await api.ask("POST", "/v1/deliveries", data=body)
        assert 422 == status
        assert {"code", "message", "advice"} == set(answer["error"])

    async def test_what_kafka_would_not_take_is_refused(self, api: Api) -> None:
        """413 before anything is recorded."""
        status, answer = await api.ask("POST", "/v1/deliveries", data=b"{" + b" " * MAX_VALUE + b"}")
        assert (413, "oversized") == (status, answer["error"]["code"])

    @pytest.mark.parametrize("change", [{"company_id": 2**63}, {"files": [{"name": "\0", "store": "a", "key": "k"}]}])
    async def test_what_the_ledger_cannot_hold_is_refused(self, rig: Rig, api: Api, change: dict[str, Any]) -> None:
        """422, not an outage."""
        event = rig.event(rig.write(1)).model_dump(mode="json") | change
        status, answer = await api.ask("POST", "/v1/deliveries", json=event)
        assert (422, "unrecordable") == (status, answer["error"]["code"])

    async def test_kafka_down_is_told_and_publishing_again_heals_it(self, rig: Rig, api: Api) -> None:
        """503 says that the same may be published again; then it is there once."""
        event = rig.event(rig.write(1))
        async with serving_api(rig, producer=MuteProducer(rig.kafka, "mute")) as broken:
            status, answer = await broken.post(event)
        assert (503, "kafka_unavailable") == (status, answer["error"]["code"])
        assert 0 == await written(rig, event.revision)

        assert 202 == (await api.post(event))[0]
        assert 1 == await written(rig, event.revision)

    async def test_the_ledger_down_is_told(self, rig: Rig) -> None:
        """503, and no word of where the database is."""
        async with serving_api(rig, dsn="postgresql://nobody:hunter2@127.0.0.1:9/none") as broken:
            status, answer = await broken.post(rig.event(rig.write(1)))
        assert (503, "ledger_unavailable") == (status, answer["error"]["code"])
        assert "hunter2" not in str(answer)


class TestShow:
    async def test_a_delivery_and_its_files_add_up(self, rig: Rig, api: Api) -> None:
        """Totals, plan and files say the same, and rejects name record and line."""
        event = rig.event(rig.write(12_000), rig.write(3))
        await rig.planned(event)
        first = next(ready for _, ready in await rig.chunks(event.revision))
        await rig.settler.apply(
            ChunkSettled(
                revision=first.revision,
                file_index=first.file_index,
                chunk_index=first.chunk_index,
                ad_account_id=first.ad_account_id,
                audience_id=first.audience_id,
                outcome=Delivered(),
                counts=ChunkCounts(records=10_000, accepted=9_998, invalid=1, rejected=1),
                reject_reasons={"malformed_json": 1},
                rejects=(Reject(record=17, line=19, reason="malformed_json"),),
                settled_at=utc_now(),
            )
        )

        _, delivery = await api.ask("GET", f"/v1/deliveries/{event.revision}")
        _, files = await api.ask("GET", f"/v1/deliveries/{event.revision}/files")

        totals = {"records": 12_003, "accepted": 9_998, "invalid": 1, "rejected": 1, "waiting": 0, "dead": 0}
        assert totals == delivery["totals"]
        assert {"files": 2, "files_planned": 2, "chunks": 3, "settled": 1} == delivery["planned"]
        assert ("uploading", first.audience_id) == (delivery["state"], delivery["audience_id"])
        assert "ended_at" not in delivery
        assert totals == {place: sum(file[place] for file in files["files"]) for place in totals}
        assert {"malformed_json": 1} == files["files"][0]["reject_reasons"]
        assert [{"record": 17, "line": 19, "reason": "malformed_json"}] == files["files"][0]["rejects"]
        assert ["uploading", "uploading"] == [file["state"] for file in files["files"]]

    async def test_an_ended_delivery_says_when_and_why(self, rig: Rig, api: Api) -> None:
        """Reason, advice and the end, on the delivery and on the file."""
        event = rig.event(rig.write(1).model_copy(update={"key": "gone"}))
        await rig.planned(event)
        _, delivery = await api.ask("GET", f"/v1/deliveries/{event.revision}")
        _, files = await api.ask("GET", f"/v1/deliveries/{event.revision}/files")
        assert ("failed", "object_missing") == (delivery["state"], delivery["reason"]["code"])
        assert delivery["reason"]["advice"]
        assert delivery["ended_at"] >= delivery["created_at"]
        assert [("failed", "object_missing", "gone")] == [
            (file["state"], file["reason"]["code"], file["key"]) for file in files["files"]
        ]

    @pytest.mark.parametrize("path", ["", "/files"])
    @pytest.mark.parametrize("revision", [2**60, 2**63, 10**19])
    async def test_an_unknown_delivery_is_not_found(self, api: Api, revision: int, path: str) -> None:
        """404, also for numbers no ledger could hold."""
        status, answer = await api.ask("GET", f"/v1/deliveries/{revision}{path}")
        assert (404, "unknown_delivery") == (status, answer["error"]["code"])

    async def test_an_operator_lets_a_delivery_go_on(self, rig: Rig, api: Api) -> None:
        """Its waiting chunks are sent once more, marked as released; the second time there is nothing to let go."""
        event = rig.event(rig.write(10))
        await rig.planned(event)
        ((_, ready),) = await rig.chunks(event.revision)
        waiting = Waiting(cause="audience_flagged", scope="audience:1", advice="appeal")
        counts = ChunkCounts(records=10, waiting=10)
        await rig.settler.apply(
            ChunkSettled(
                revision=event.revision,
                file_index=0,
                chunk_index=0,
                ad_account_id=ready.ad_account_id,
                audience_id=ready.audience_id,
                outcome=waiting,
                counts=counts,
                settled_at=utc_now(),
            )
        )

        answers = [await api.ask("POST", f"/v1/deliveries/{event.revision}/release") for _ in range(2)]

        told = [(status, body["state"], body["released"]) for status, body in answers]
        assert [(202, "uploading", 1), (202, "uploading", 0)] == told
        _, again = (await rig.chunks(event.revision))[1]
        assert (2, ready.chunk_id) == (again.emission, again.chunk_id)
        assert again.released_at is not None
        assert 404 == (await api.ask("POST", "/v1/deliveries/9000000000/release"))[0]

    async def test_deliveries_are_listed_newest_first_filtered_and_paged(self, rig: Rig, api: Api) -> None:
        """Company and state narrow, `after` goes on where a page ended."""
        company = uuid4().int % 10**12
        events = [rig.event(rig.write(1), company_id=company) for _ in range(3)]
        for event in events:
            await rig.acceptor.accept(event, via="api")
        await rig.planner().plan(events[0].revision)

        async def listed(**query: object) -> list[int]:
            params = {name: str(value) for name, value in query.items()}
            _, answer = await api.ask("GET", "/v1/deliveries", params=params)
            return [delivery["revision"] for delivery in answer["deliveries"]]

        newest = [event.revision for event in reversed(events)]
        assert newest == await listed(company_id=company)
        assert newest[:2] == await listed(company_id=company, limit=2)
        assert newest[2:] == await listed(company_id=company, after=newest[1])
        assert newest[2:] == await listed(company_id=company, state="uploading")

    @pytest.mark.parametrize(
        ("name", "value"), [("limit", "0"), ("limit", "201"), ("limit", "x"), ("after", "-1"), ("state", "lost")]
    )
    async def test_a_filter_that_is_none_is_refused_by_name(self, api: Api, name: str, value: str) -> None:
        """A typing error does not silently list everything."""
        status, answer = await api.ask("GET", "/v1/deliveries", params={name: value})
        assert 422 == status
        assert name in answer["error"]["message"]


def _is_of(record: Any, revision: int) -> bool:
    return dict(record.headers).get("ce_subject") == str(revision).encode()
