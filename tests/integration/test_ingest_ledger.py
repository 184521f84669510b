"""The ledger: its tables are what the code says, and a delivery is recorded once."""

from datetime import UTC, datetime
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, insert, select
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.pool import NullPool

from connector.database.address import parse
from connector.database.migrations import Migrations
from connector.runtime.settings import DatabaseSettings
from services.ingest.deliveries import Conflict, Known, Recorded
from services.ingest.tables import SCHEMA, chunks, deliveries, metadata
from tests.integration.ingest_parts import MIGRATIONS, Rig

pytest_plugins = ("tests.integration.ingest_fixtures",)


def differences(database: DatabaseSettings) -> list[Any]:
    """Where the migrated schema is not the tables of the code."""

    def ours(name: str | None, kind: str, _: Any) -> bool:
        return name == SCHEMA if kind == "schema" else name != "alembic_version"

    options = {"include_schemas": True, "include_name": ours, "compare_server_default": True}
    # The role's own search path makes its schema the default one, which Alembic would compare under no name.
    elsewhere = {"options": "-c search_path=pg_catalog"}
    engine = create_engine(parse(database.dsn), poolclass=NullPool, connect_args=elsewhere)
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


class TestSchema:
    def test_the_migrations_make_the_tables_the_code_uses(self, ingest_database: DatabaseSettings) -> None:
        """No column, index or default is in one and not in the other."""
        assert [] == differences(ingest_database)

    def test_migrating_again_changes_nothing(self, ingest_database: DatabaseSettings) -> None:
        """A restart finds the schema as it should be."""
        before, after = Migrations(SCHEMA, MIGRATIONS).upgrade(ingest_database.dsn)
        assert before == after == Migrations(SCHEMA, MIGRATIONS).head()

    async def test_a_settlement_that_does_not_add_up_cannot_be_stored(self, rig: Rig) -> None:
        """The promise `accounted` is a rule of the database, not only of our code."""
        delivery = await rig.planned(rig.event(rig.write(10)))
        broken = (
            chunks.update().where(chunks.c.revision == delivery.revision).values(settlement="delivered", accepted=9)
        )
        with pytest.raises(IntegrityError):
            async with rig.engine.begin() as connection:
                await connection.execute(broken)

    async def test_a_state_nobody_knows_cannot_be_stored(self, rig: Rig) -> None:
        """A typing error in a state is refused."""
        moment = datetime.now(UTC)
        row = {
            "revision": 2**62,
            "content": b"",
            "event": {},
            "company_id": 1,
            "profile_id": rig.event(rig.write(1)).profile_id,
            "state": "delivred",
            "sequence": 1,
            "created_at": moment,
            "updated_at": moment,
        }
        with pytest.raises(IntegrityError):
            async with rig.engine.begin() as connection:
                await connection.execute(insert(deliveries), row)


class TestAccept:
    async def test_the_same_delivery_is_recorded_once(self, rig: Rig) -> None:
        """Twice from upstream and once by the API: one row, and the same answer."""
        event = rig.event(rig.write(1))

        first = await rig.acceptor.accept(event, via="topic")
        again = [await rig.acceptor.accept(event, via=via) for via in ("topic", "api")]

        assert isinstance(first, Recorded)
        assert [Known(first.delivery)] * 2 == again

    async def test_another_content_under_a_revision_is_a_conflict_and_the_first_stays(self, rig: Rig) -> None:
        """A revision names one content for ever."""
        event = rig.event(rig.write(1))
        await rig.acceptor.accept(event, via="topic")

        answer = await rig.acceptor.accept(event.model_copy(update={"company_id": 2}), via="api")

        assert Conflict(event.revision) == answer
        assert event == (await rig.delivery(event.revision)).event

    async def test_a_delivery_survives_the_ledger_unchanged(self, rig: Rig) -> None:
        """What is planned later is exactly what was asked for."""
        event = rig.event(rig.write(1), dataset_id=7, snapshot_id=8, operation="remove")
        await rig.acceptor.accept(event, via="topic")
        assert event == (await rig.delivery(event.revision)).event

    @pytest.mark.parametrize("changes", [{"company_id": 2**70}, {"name": "a\x00b"}], ids=["number", "nul"])
    async def test_what_postgresql_cannot_hold_is_told_apart_from_an_outage(
        self, rig: Rig, changes: dict[str, Any]
    ) -> None:
        """Such an event is refused; held and tried again it would stop its partition for ever."""
        file = rig.write(1)
        event = rig.event(file.model_copy(update=changes)) if "name" in changes else rig.event(file, **changes)
        with pytest.raises(DataError):
            await rig.acceptor.accept(event, via="topic")
        async with rig.engine.connect() as connection:
            found = select(deliveries.c.revision).where(deliveries.c.revision == event.revision)
            assert await connection.scalar(found) is None
