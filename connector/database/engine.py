"""The engine a service works with: bounded connections, bounded statements, nothing secret in its errors."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from connector.database.address import parse
from connector.runtime.settings import DatabaseSettings

CONNECT_TIMEOUT = 5
"""Seconds until an unanswered connection attempt fails (libpq counts whole seconds)."""

POOL_TIMEOUT = 10.0
"""Seconds a caller waits for a free connection before it is told that there is none."""

RECYCLE = 1_800
"""Seconds after which a connection is replaced, so that a failover or a new password reaches every one of them."""

IDLE_IN_TRANSACTION = 30
"""Seconds the server lets a transaction sleep: a stuck process must not hold row locks for ever."""


def create(settings: DatabaseSettings, application: str) -> AsyncEngine:
    """An engine over psycopg 3; it connects with the first statement. Dispose of it on the way out.

    Args:
        settings: Address, pool size and the longest a statement may take.
        application: Shown in `pg_stat_activity` beside each connection.

    Raises:
        AddressError: The DSN cannot be used.
    """
    options = {
        "statement_timeout": f"{int(settings.statement_timeout * 1_000)}",
        "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION * 1_000}",
        "timezone": "UTC",
    }
    return create_async_engine(
        parse(settings.dsn),
        pool_size=settings.pool_size,
        max_overflow=0,  # the pool's size is the promise made to the server's max_connections
        pool_timeout=POOL_TIMEOUT,
        pool_recycle=RECYCLE,
        pool_pre_ping=True,
        hide_parameters=True,  # an error would otherwise print the row it could not write
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "application_name": application,
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        },
    )


async def answers(engine: AsyncEngine) -> bool:
    """Whether the database executes a statement now; a readiness check (the caller bounds its time)."""
    async with engine.connect() as connection:
        return await connection.scalar(select(1)) == 1
