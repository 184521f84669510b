"""The database of the services: roles that see nothing of each other, migrations that agree with the code."""

import asyncio
import os
import secrets
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from connector.database import engine as database
from connector.database.address import parse
from connector.database.migrations import MigrationError, Migrations
from connector.database.provision import ProvisionError, ServiceRole, provision
from connector.runtime.settings import DatabaseSettings
from services.auth.tables import metadata
from tests.integration.auth_parts import MIGRATIONS, Databases

pytest_plugins = ("tests.integration.auth_fixtures",)


@pytest.fixture
def fresh(auth_server: SecretStr) -> Databases:
    """A new database of the server, with roles of its own names; nothing provisioned."""
    name = f"t{secrets.token_hex(6)}"
    with psycopg.connect(auth_server.get_secret_value(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return Databases(*(_dsn(auth_server, name, role) for role in (None, f"{name}_auth", f"{name}_ingest")))


def _dsn(server: SecretStr, name: str, role: str | None) -> SecretStr:
    url = make_url(server.get_secret_value()).set(database=name)
    if role is not None:
        url = url.set(username=role, password=secrets.token_hex(8))
    return SecretStr(url.render_as_string(hide_password=False))


def _roles(databases: Databases) -> list[ServiceRole]:
    return [ServiceRole.of(databases.auth, "auth"), ServiceRole.of(databases.ingest, "ingest")]


class TestProvisioning:
    def test_creates_what_is_missing_once(self, fresh: Databases) -> None:
        """The first run says what it made; the second makes nothing."""
        auth, ingest = _roles(fresh)

        first, second = provision(fresh.admin, [auth, ingest]), provision(fresh.admin, [auth, ingest])

        assert [f"role {auth.name}", "schema auth", f"role {ingest.name}", "schema ingest"] == first
        assert [] == second

    def test_two_runs_at_once(self, fresh: Databases) -> None:
        """Two operators at once do not trip over each other."""
        made: list[list[str]] = []
        runs = [threading.Thread(target=lambda: made.append(provision(fresh.admin, _roles(fresh)))) for _ in range(4)]
        for run in runs:
            run.start()
        for run in runs:
            run.join(timeout=30)

        assert [0, 0, 0, 4] == sorted(map(len, made))

    def test_a_role_works_in_its_own_schema_and_in_no_other(self, fresh: Databases) -> None:
        """Ingest cannot read a token row: not by mistake, and not when it is taken over."""
        provision(fresh.admin, _roles(fresh))
        with psycopg.connect(fresh.auth.get_secret_value()) as connection:
            connection.execute("CREATE TABLE secret (id int)")
            assert ("auth",) == connection.execute("SELECT current_schema()").fetchone()

        with psycopg.connect(fresh.ingest.get_secret_value(), autocommit=True) as stranger:
            for statement in (
                b"SELECT * FROM auth.secret",
                b"CREATE TABLE auth.more (id int)",
                b"CREATE TABLE public.more (id int)",
                b"CREATE ROLE another",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    stranger.execute(statement)

    def test_new_passwords_are_taken(self, fresh: Databases) -> None:
        """A changed DSN is all it takes to change a password."""
        provision(fresh.admin, _roles(fresh))
        url = make_url(fresh.auth.get_secret_value()).set(password="x'y\"z%41")
        changed = SecretStr(url.render_as_string(hide_password=False))

        provision(fresh.admin, [ServiceRole.of(changed, "auth")])

        with psycopg.connect(changed.get_secret_value()) as connection:
            assert (1,) == connection.execute("SELECT 1").fetchone()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(fresh.auth.get_secret_value())

    def test_an_administrator_need_not_be_a_superuser(self, fresh: Databases) -> None:
        """Managed databases give no superuser: one that may create roles and owns the database is enough."""
        name, password = f"dba_{secrets.token_hex(4)}", secrets.token_hex(8)
        url = make_url(fresh.admin.get_secret_value())
        with psycopg.connect(fresh.admin.get_secret_value(), autocommit=True) as connection:
            role, base = sql.Identifier(name), sql.Identifier(str(url.database))
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(role, password))
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(base, role))
        admin = SecretStr(url.set(username=name, password=password).render_as_string(hide_password=False))

        assert 4 == len(provision(admin, _roles(fresh)))
        assert [] == provision(admin, _roles(fresh))
        with psycopg.connect(fresh.auth.get_secret_value()) as connection:
            connection.execute("CREATE TABLE mine (id int)")

    def test_another_database_is_an_error(self, fresh: Databases) -> None:
        """Roles made in one database and used in another would fail later and less clearly."""
        elsewhere = SecretStr(fresh.auth.get_secret_value() + "_elsewhere")

        with pytest.raises(ProvisionError, match="one database for all"):
            provision(fresh.admin, [ServiceRole.of(elsewhere, "auth")])

    def test_one_role_for_two_services_is_an_error(self, fresh: Databases) -> None:
        """A shared role would read both schemas."""
        with pytest.raises(ProvisionError, match="same role"):
            provision(fresh.admin, [ServiceRole.of(fresh.auth, "auth"), ServiceRole.of(fresh.auth, "ingest")])

    def test_a_powerful_role_is_an_error(self, fresh: Databases) -> None:
        """A superuser's DSN given to a service is refused, and its password is not touched."""
        with pytest.raises(ProvisionError, match="may do more"):
            provision(fresh.admin, [ServiceRole.of(fresh.admin, "auth")])

    def test_errors_hold_no_password(self, fresh: Databases) -> None:
        """A refused login names role and host, not the password."""
        url = make_url(fresh.admin.get_secret_value()).set(password="canary-password")

        with pytest.raises(ProvisionError) as caught:
            provision(SecretStr(url.render_as_string(hide_password=False)), _roles(fresh))

        assert "postgres@127.0.0.1" in str(caught.value)
        assert "canary-password" not in repr(caught.value)


class TestMigrating:
    def test_code_and_database_agree(self, auth_database: Databases) -> None:
        """What the migrations make is what `tables.py` says, to the last constraint."""
        # Without a search path every name is shown with its schema, as the code writes it.
        url = parse(auth_database.auth)
        engine = create_engine(url, poolclass=NullPool, connect_args={"options": "-csearch_path="})
        with engine.connect() as connection:
            options = {
                "version_table_schema": "auth",
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == "auth",
                "compare_type": True,
            }
            context = MigrationContext.configure(connection, opts=options)
            assert [] == compare_metadata(context, metadata)

    def test_two_at_once(self, fresh: Databases) -> None:
        """Of two processes that upgrade at once one does it, the other finds it done."""
        provision(fresh.admin, _roles(fresh))
        migrations = Migrations("auth", MIGRATIONS)
        seen: list[tuple[str | None, str | None]] = []
        runs = [threading.Thread(target=lambda: seen.append(migrations.upgrade(fresh.auth))) for _ in range(3)]
        for run in runs:
            run.start()
        for run in runs:
            run.join(timeout=30)

        head = migrations.head()
        assert [(None, head), (head, head), (head, head)] == sorted(seen, key=lambda pair: pair[0] or "")
        assert head == migrations.current(fresh.auth)

    def test_down_and_up_again(self, fresh: Databases) -> None:
        """Each migration can be taken back, and applied again after that."""
        provision(fresh.admin, _roles(fresh))
        migrations = Migrations("auth", MIGRATIONS)
        migrations.upgrade(fresh.auth)
        config = migrations._config()
        engine = create_engine(parse(fresh.auth), poolclass=NullPool)
        with engine.connect() as connection:
            config.attributes.update(connection=connection, schema="auth")
            command.downgrade(config, "base")
            connection.commit()

        assert None is migrations.current(fresh.auth)
        assert (None, migrations.head()) == migrations.upgrade(fresh.auth)

    def test_waiting_for_another_runner_has_an_end(self, fresh: Databases) -> None:
        """A runner that hangs does not hang the next one for ever."""
        provision(fresh.admin, _roles(fresh))
        with psycopg.connect(fresh.auth.get_secret_value()) as other:
            other.execute("SELECT pg_advisory_lock(hashtextextended('fbc:migrations:auth', 0))")

            with pytest.raises(MigrationError, match="lock"):
                Migrations("auth", MIGRATIONS, turn_timeout=1).upgrade(fresh.auth)

    def test_a_failing_revision_changes_nothing(self, fresh: Databases, tmp_path: Path) -> None:
        """Half a migration is never left behind."""
        provision(fresh.admin, _roles(fresh))
        (tmp_path / "versions").mkdir()
        for number, (before, statement) in enumerate([("None", "CREATE TABLE one (id int)"), ("'0'", "SELECT 1/0")]):
            (tmp_path / "versions" / f"{number}.py").write_text(
                f"from alembic import op\nrevision = '{number}'\ndown_revision = {before}\n"
                f"def upgrade():\n    op.execute('{statement}')\n"
            )
        migrations = Migrations("auth", tmp_path)

        with pytest.raises(MigrationError, match="division by zero"):
            migrations.upgrade(fresh.auth)

        assert None is migrations.current(fresh.auth)
        with psycopg.connect(fresh.auth.get_secret_value()) as connection:
            assert (None,) == connection.execute("SELECT to_regclass('one')").fetchone()

    def test_an_installation_without_migrations_is_an_error(self, fresh: Databases, tmp_path: Path) -> None:
        """Nothing to apply because the files are missing is not "up to date"."""
        with pytest.raises(MigrationError, match="missing"):
            Migrations("auth", tmp_path / "nowhere").upgrade(fresh.auth)


class TestEngine:
    async def test_statements_have_an_end(self, auth_database: Databases) -> None:
        """A statement that takes too long is ended by the server."""
        engine = database.create(DatabaseSettings(dsn=auth_database.auth, statement_timeout=0.2), "test")
        try:
            async with engine.connect() as connection:
                with pytest.raises(DBAPIError, match="statement timeout"):
                    await connection.exec_driver_sql("SELECT pg_sleep(5)")
        finally:
            await engine.dispose()

    async def test_answers(self, auth_database: Databases) -> None:
        """Readiness is a real round trip, under the service's own name."""
        engine = database.create(DatabaseSettings(dsn=auth_database.auth), "fbc-test")
        try:
            assert await database.answers(engine)
            async with engine.connect() as connection:
                shown = await connection.exec_driver_sql("SELECT current_setting('application_name')")
                assert "fbc-test" == shown.scalar_one()
        finally:
            await engine.dispose()

    async def test_an_absent_server_fails_fast(self) -> None:
        """A server that is not there is an error at once, without the password in it."""
        dsn = SecretStr("postgresql://role:canary-password@127.0.0.1:1/fbc")
        engine = database.create(DatabaseSettings(dsn=dsn), "test")
        try:
            async with asyncio.timeout(5):
                with pytest.raises(DBAPIError) as caught:
                    await database.answers(engine)
        finally:
            await engine.dispose()
        assert "canary-password" not in f"{caught.value!r} {engine!r}"


class TestCommandLine:
    def test_ensure_upgrade_current(self, fresh: Databases) -> None:
        """The three commands bring an empty database to the code, and say so."""
        ensured = _fbc(fresh, "ensure")
        behind = _fbc(fresh, "current", "--service", "auth")
        upgraded = _fbc(fresh, "upgrade", "--service", "auth")
        current = _fbc(fresh, "current", "--service", "auth")

        head = Migrations("auth", MIGRATIONS).head()
        assert (0, 4) == (ensured.returncode, len(ensured.stdout.splitlines())), ensured.stderr
        assert 1 == behind.returncode
        assert (0, f"auth: {head} (was empty)\n") == (upgraded.returncode, upgraded.stdout)
        assert (0, f"auth: {head}\n") == (current.returncode, current.stdout)

    def test_missing_variables_are_named(self) -> None:
        """What is not configured is named, with an example."""
        ended = _fbc(None, "ensure")

        assert 2 == ended.returncode
        assert "FBC_DATABASE__ADMIN_DSN" in ended.stderr

    def test_an_unreachable_server_is_told(self) -> None:
        """One line says what is wrong; no trace, no password."""
        dsn = SecretStr("postgresql://role:canary-password@127.0.0.1:1/fbc")

        ended = _fbc(Databases(dsn, dsn, dsn), "upgrade")

        assert 1 == ended.returncode
        assert "127.0.0.1:1/fbc" in ended.stderr
        assert "canary-password" not in ended.stderr
        assert "Traceback" not in ended.stderr


def _fbc(databases: Databases | None, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FBC_")}
    if databases is not None:
        environment |= {
            "FBC_DATABASE__ADMIN_DSN": databases.admin.get_secret_value(),
            "FBC_DATABASE__AUTH_DSN": databases.auth.get_secret_value(),
            "FBC_DATABASE__INGEST_DSN": databases.ingest.get_secret_value(),
        }
    return subprocess.run(
        [sys.executable, "-m", "cli", "db", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
    )
