"""The contract on the wire: generated files match the models, released ones never change, old events go on parsing."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import schemas as schemas_package
from cli.schemas import drift, expected
from connector.kafka.asyncapi import document
from connector.kafka.topics import ALL as TOPICS
from schemas import events
from schemas.generated import digest, json_schema, released
from schemas.registry import ALL as EVENT_TYPES
from schemas.registry import EventType
from schemas.samples import SAMPLES

FOLDER = Path(schemas_package.__file__).parent
BY_NAME = {kind.name: kind for kind in EVENT_TYPES}
OLD_SAMPLES = sorted(FOLDER.glob("*/samples/*.json"))


def named(value: object) -> str:
    """A readable test id."""
    return (
        value.name if isinstance(value, EventType) else f"{Path(str(value)).parent.parent.name}-{Path(str(value)).stem}"
    )


class TestGeneratedFiles:
    def test_committed_files_are_what_the_models_say(self) -> None:
        """A model changed without `fbc schemas export` is caught here."""
        assert [] == drift(expected())

    def test_drift_names_a_changed_file(self) -> None:
        """The check can fail: a different content is named."""
        changed = {**expected(), "asyncapi.json": b"{}"}

        assert ["asyncapi.json"] == drift(changed)

    def test_every_event_has_a_sample(self) -> None:
        """Each registered event type has its golden sample."""
        assert set(EVENT_TYPES) == set(SAMPLES)

    def test_every_event_type_is_distinct_on_the_wire(self) -> None:
        """No two events share a `ce_type`."""
        assert len(EVENT_TYPES) == len({kind.ce_type for kind in EVENT_TYPES})


class TestReleasedFiles:
    def test_released_files_are_immutable(self) -> None:
        """A released schema or sample has the digest it had when it was released."""
        changed = [path for path, recorded in released().items() if digest((FOLDER / path).read_bytes()) != recorded]

        assert [] == changed

    def test_every_schema_file_is_released(self) -> None:
        """No schema or sample lies about without being recorded."""
        found = {str(path.relative_to(FOLDER)) for path in FOLDER.glob("*/**/*.json")}

        assert found == set(released())


class TestCompatibility:
    @pytest.mark.parametrize("path", OLD_SAMPLES, ids=named)
    def test_old_samples_parse_with_the_new_models(self, path: Path) -> None:
        """An event written by any released version is still read (backward compatibility)."""
        kind = BY_NAME[path.parent.parent.name]
        document = orjson.loads(path.read_bytes())

        parsed = kind.model.model_validate(document)

        assert document == orjson.loads(
            orjson.dumps(parsed.model_dump(mode="json", exclude_none=True, exclude_unset=True))
        )

    @pytest.mark.parametrize("kind", EVENT_TYPES, ids=named)
    def test_new_samples_pass_every_released_schema_of_their_major(self, kind: EventType) -> None:
        """What we write today is valid for a reader that still has an older schema (forward compatibility)."""
        sample = SAMPLES[kind].model_dump(mode="json", exclude_none=True)
        major = kind.version.split(".", maxsplit=1)[0]

        for path in FOLDER.glob(f"{kind.name}/v{major}.*.json"):
            Draft202012Validator(orjson.loads(path.read_bytes())).validate(sample)

    @pytest.mark.parametrize("kind", EVENT_TYPES, ids=named)
    def test_fields_of_a_newer_writer_are_ignored(self, kind: EventType) -> None:
        """A reader does not stumble over a field it does not know."""
        newer = {**SAMPLES[kind].model_dump(mode="json"), "added_in_2030": {"x": 1}}

        assert SAMPLES[kind] == kind.model.model_validate(newer)


class TestDeliveryRequested:
    def delivery(self, **changes: Any) -> dict[str, Any]:
        """The golden sample with *changes*."""
        return {**orjson.loads(SAMPLES[BY_NAME["delivery-requested"]].model_dump_json()), **changes}

    @pytest.mark.parametrize(
        "changes",
        [
            {"kind": "subscription-delivery"},
            {"connection_id": None},
            {"files": []},
            {"revision": -1},
            {"revision": 2**63},
            {"operation": "merge"},
            {"layout": "csv"},
            {"files": [{"name": "a", "store": "https://evil.test/x", "key": "k"}]},
            {"files": [{"name": "a", "key": "k"}]},
            {"quick_settings": {"audience_id": "../me"}},
        ],
        ids=lambda changes: "-".join(f"{key}={str(value)[:24]}" for key, value in changes.items()),
    )
    def test_a_wrong_delivery_is_refused(self, changes: dict[str, Any]) -> None:
        """What cannot be delivered is refused where it enters, naming the field."""
        with pytest.raises(ValueError, match=r"validation error"):
            events.DeliveryRequested.model_validate(self.delivery(**changes))

    def test_a_backfill_may_name_no_files(self) -> None:
        """A `connection-created` without history has nothing to list."""
        parsed = events.DeliveryRequested.model_validate(self.delivery(kind="connection-created", files=[]))

        assert () == parsed.files


class TestChunkCounts:
    @given(st.lists(st.integers(0, 10_000), min_size=5, max_size=5), st.integers(1, 100))
    @settings(max_examples=50)
    def test_a_record_is_in_exactly_one_place(self, places: list[int], missing: int) -> None:
        """Counts that do not add up cannot be built, so they cannot be published."""
        names = ("accepted", "invalid", "rejected", "waiting", "dead")
        counts = dict(zip(names, places, strict=True))

        assert sum(places) == events.ChunkCounts(records=sum(places), **counts).records
        with pytest.raises(ValueError, match="accounted for"):
            events.ChunkCounts(records=sum(places) + missing, **counts)


class TestAsyncApi:
    def test_channels_are_the_topics(self) -> None:
        """Every topic of the code is in the document and the other way round."""
        assert {topic.name for topic in TOPICS} == set(document("1.0.0")["channels"])

    def test_every_event_travels_on_its_topic(self) -> None:
        """The registry's topic carries the event, and a dead-letter topic carries what it serves."""
        channels = document("1.0.0")["channels"]

        for kind in EVENT_TYPES:
            assert kind.name in channels[kind.topic]["messages"]
        assert "chunk-ready" in channels["chunks.v1.dlq"]["messages"]

    def test_references_resolve(self) -> None:
        """No reference of the document points nowhere."""
        whole = document("1.0.0")

        def walk(node: Any) -> None:
            if isinstance(node, dict):
                reference = node.get("$ref")
                if isinstance(reference, str) and reference.startswith("#/"):
                    target: Any = whole
                    for part in reference[2:].split("/"):
                        target = target[part.replace("~1", "/").replace("~0", "~")]
                elif isinstance(reference, str):
                    assert (FOLDER / reference).exists(), reference
                for child in node.values():
                    walk(child)

        walk(whole)

    @pytest.mark.parametrize("kind", EVENT_TYPES, ids=named)
    def test_schemas_are_valid_json_schema(self, kind: EventType) -> None:
        """Each generated schema is itself a valid 2020-12 schema."""
        Draft202012Validator.check_schema(json_schema(kind))
