"""The first records of each file decide whether a delivery is begun at all; its owner is told what to fix."""

import gzip
from hashlib import sha256
from typing import Any

from schemas.events import DeliveryState, FileRef, Layout
from schemas.match_keys import ColumnMapping
from services.ingest import files
from services.ingest.files import PlannedFile
from tests.integration.ingest_parts import Rig

pytest_plugins = ("tests.integration.ingest_fixtures",)

MAPPING = ColumnMapping.model_validate({"columns": {"email": {"key": "EMAIL", "mode": "raw"}}})


def plain(people: range) -> str:
    """A table of addresses."""
    return "\n".join(["email", *(f"p{n}@example.com" for n in people)])


def hashed(people: range) -> str:
    """The same table, hashed although the mapping says it is not."""
    return "\n".join(["email", *(sha256(f"p{n}@example.com".encode()).hexdigest() for n in people)])


def put(rig: Rig, name: str, text: str) -> FileRef:
    """A file in the store, packed as its name says."""
    data = text.encode()
    (rig.folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return FileRef(name=name, store="local", key=name)


def mapped(rig: Rig, *chosen: FileRef, **changes: Any) -> Any:
    """A delivery of files with the customer's own columns."""
    return rig.event(*chosen, layout=Layout.COLUMNS, mapping=MAPPING, **changes)


async def planned_files(rig: Rig, revision: int) -> list[PlannedFile]:
    """The files as the ledger has them."""
    async with rig.engine.connect() as connection:
        return await files.of_delivery(connection, revision)


class TestPreflight:
    async def test_a_wrongly_declared_file_refuses_its_delivery(self, rig: Rig) -> None:
        """Not one chunk leaves, of the good file neither; the reason names the file, the column and the share."""
        event = mapped(rig, put(rig, "good.csv", plain(range(2_000))), put(rig, "bad.csv.gz", hashed(range(2_000))))

        delivery = await rig.planned(event)

        assert DeliveryState.FAILED is delivery.state
        assert delivery.reason is not None
        assert "preflight_refused" == delivery.reason.code
        assert all(word in delivery.reason.message for word in ("bad.csv.gz", "email", "100%"))
        assert [] == await rig.chunks(event.revision)

    async def test_the_report_is_kept_without_people(self, rig: Rig) -> None:
        """What was seen is in the ledger for its owner: counts, columns, advice; no address and no hash."""
        event = mapped(rig, put(rig, "bad.csv", hashed(range(300))))

        await rig.planned(event)

        (file,) = await planned_files(rig, event.revision)
        assert file.preflight is not None
        assert (True, 20) == (file.preflight["would_refuse"], len(file.preflight["rejected"]))
        assert {"row": 1, "column": "email", "reason": "already_hashed"} == file.preflight["rejected"][0]
        assert "sha256" in " ".join(warned["advice"] for warned in file.preflight["warnings"])
        assert sha256(b"p1@example.com").hexdigest() not in str(file.preflight)

    async def test_a_good_file_is_delivered_with_its_coverage(self, rig: Rig) -> None:
        """Looking costs nothing but the look."""
        event = mapped(rig, put(rig, "good.csv", plain(range(12_000))))

        await rig.planned(event)

        (file,) = await planned_files(rig, event.revision)
        assert 2 == len(await rig.chunks(event.revision))
        assert file.preflight is not None
        assert {"EMAIL": {"filled": 1_000, "distinct": 1_000}} == file.preflight["coverage"]

    async def test_nobody_to_be_found_in_a_thousand_records(self, rig: Rig) -> None:
        """Nothing could be sent of what was seen: refused before a file of millions is read to its end."""
        event = rig.event(put(rig, "nobody.ndjson", '{"hl7_gender":{"gender":"male"}}\n' * 1_001))

        delivery = await rig.planned(event)

        assert delivery.reason is not None
        assert (DeliveryState.FAILED, "no_valid_record") == (delivery.state, delivery.reason.code)
        assert [] == await rig.chunks(event.revision)

    async def test_nobody_to_be_found_in_a_small_file(self, rig: Rig) -> None:
        """Seen whole, it is planned all the same: the uploader accounts for each of its records, and sends nothing."""
        event = rig.event(put(rig, "few.ndjson", '{"hl7_gender":{"gender":"male"}}\n' * 3))

        await rig.planned(event)

        assert 3 == sum(ready.records for _, ready in await rig.chunks(event.revision))

    async def test_what_stands_behind_the_first_thousand_is_not_judged(self, rig: Rig) -> None:
        """Rows that go wrong later are counted one by one, as ever."""
        late = hashed(range(1_000, 3_000)).removeprefix("email\n")
        event = mapped(rig, put(rig, "late.csv", f"{plain(range(1_000))}\n{late}"))

        delivery = await rig.planned(event)

        assert DeliveryState.UPLOADING is delivery.state

    async def test_a_file_that_cannot_be_read_does_not_take_the_others_along(self, rig: Rig) -> None:
        """It is refused alone, before or after the look."""
        event = mapped(rig, put(rig, "good.csv", plain(range(10))), put(rig, "other.csv", "name\nAnn"))

        await rig.planned(event)

        good, other = await planned_files(rig, event.revision)
        assert 1 == len(await rig.chunks(event.revision))
        assert ("planned", "failed") == (good.planning.value, other.planning.value)
