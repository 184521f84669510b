"""Schema migrations: a service's revisions applied by Alembic, one runner at a time.

Revisions lie in `services/<service>/migrations/versions`; each service's version table lives in its own schema, so the
services migrate apart. They are applied with the service's own role, which owns the schema and nothing else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from pydantic import SecretStr
from sqlalchemy import Connection, create_engine, func, select, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from connector.database.address import parse, shown
from connector.database.engine import CONNECT_TIMEOUT

ENVIRONMENT = Path(__file__).parent / "environment"

TURN_TIMEOUT = 120
"""Seconds to wait for another runner of the same service's migrations, unless told otherwise."""

LOCK_TIMEOUT = 10
"""Seconds a revision waits for a table: a queue behind a waiting ALTER TABLE would stop the service in production."""


class MigrationError(Exception):
    """Raised when the schema could not be brought to, or compared with, the code; says where and what to do."""


@dataclass(frozen=True)
class Migrations:
    """The revisions of one service.

    Attributes:
        schema: Where its tables and its version table lie.
        folder: What holds `versions/`.
        turn_timeout: Seconds to wait for another runner.
    """

    schema: str
    folder: Path
    turn_timeout: int = TURN_TIMEOUT

    def head(self) -> str | None:
        """The newest revision in the folder, None when there is none yet.

        Raises:
            MigrationError: The folder is missing.
        """
        return self._scripts().get_current_head()

    def current(self, dsn: SecretStr) -> str | None:
        """The revision the database is at, None when nothing was applied yet.

        Raises:
            MigrationError: The database cannot be asked.
        """
        with self._connected(dsn) as connection:
            return self._current(connection)

    def upgrade(self, dsn: SecretStr) -> tuple[str | None, str | None]:
        """Applies what is missing, all or nothing; the revisions before and after.

        Safe when two processes do it at once: the second waits, then finds nothing to do.

        Raises:
            MigrationError: Unreachable, the other runner did not end, or a revision failed.
        """
        config = self._config()
        with self._connected(dsn) as connection, self._turn(connection):
            before = self._current(connection)
            config.attributes.update(connection=connection, schema=self.schema)
            command.upgrade(config, "head")
            connection.commit()
            return before, self._current(connection)

    def _current(self, connection: Connection) -> str | None:
        context = MigrationContext.configure(connection, opts={"version_table_schema": self.schema})
        return context.get_current_revision()

    @contextmanager
    def _turn(self, connection: Connection) -> Iterator[None]:
        """Holds this service's turn: a session lock, because a revision may need to commit in between.

        Behind a pooler that shares sessions (PgBouncer in transaction mode) it protects nothing: migrate directly.
        """
        key = func.hashtextextended(f"fbc:migrations:{self.schema}", 0)
        connection.execute(text(f"SET lock_timeout = '{self.turn_timeout}s'"))
        connection.execute(select(func.pg_advisory_lock(key)))
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}s'"))
        connection.commit()
        yield
        # No release: leaving closes the session (NullPool), and with it goes the lock, also after an error.

    @contextmanager
    def _connected(self, dsn: SecretStr) -> Iterator[Connection]:
        url = parse(dsn)
        arguments = {"connect_timeout": CONNECT_TIMEOUT, "application_name": f"fbc-migrations-{self.schema}"}
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=arguments)
        try:
            with engine.connect() as connection:
                yield connection
        except OperationalError as error:
            raise MigrationError(
                f"{self.schema}: the database at {shown(url)} did not do its part: {_first_line(error)}; "
                "check the address, that `fbc db ensure` ran, and that no other migration holds its locks"
            ) from error
        except (SQLAlchemyError, CommandError) as error:
            raise MigrationError(
                f"{self.schema}: migrating {shown(url)} failed, nothing was changed: {_first_line(error)}"
            ) from error
        finally:
            engine.dispose()

    def _config(self) -> Config:
        versions = self.folder / "versions"
        if not versions.is_dir():
            # Alembic takes a missing folder for one without revisions: an incomplete installation would "succeed".
            raise MigrationError(f"{self.schema}: {versions} is missing: this installation has no migrations for it")
        config = Config()
        # Alembic reads these through ConfigParser, to which a percent sign in a path means interpolation.
        config.set_main_option("script_location", str(ENVIRONMENT).replace("%", "%%"))
        config.set_main_option("version_locations", str(versions).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        return config

    def _scripts(self) -> ScriptDirectory:
        return ScriptDirectory.from_config(self._config())


def _first_line(error: Exception) -> str:
    """What went wrong in one line, without the statement SQLAlchemy appends."""
    cause = getattr(error, "orig", None) or error
    return next(iter(str(cause).splitlines()), type(error).__name__)
