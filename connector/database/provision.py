"""What an administrator does once per database: a role and a schema for each service, which see nothing of each other.

Idempotent: a second run changes nothing but the passwords, to those of the DSNs given. Needs a role that may create
roles; it need not be a superuser.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr
from sqlalchemy.engine import URL

from connector.database.address import AddressError, parse, shown
from connector.database.engine import CONNECT_TIMEOUT

TURN_KEY = 0x0FBC_DB
"""The advisory lock of provisioning: two runs at once would both try to create what neither sees yet."""

STATEMENT_TIMEOUT = 30


class ProvisionError(Exception):
    """Raised when roles or schemas could not be made; the text says what and where, and shows no password."""


@dataclass(frozen=True)
class ServiceRole:
    """A service's login and the schema it owns."""

    name: str
    schema: str
    database: str
    password: SecretStr = field(repr=False)

    @classmethod
    def of(cls, dsn: SecretStr, schema: str) -> "ServiceRole":
        """The role that *dsn* logs in as.

        Raises:
            AddressError: The DSN cannot be parsed or lacks the role or its password.
        """
        url = parse(dsn)
        if not url.username or not url.password:
            raise AddressError(f"the DSN of {schema} needs a role and a password: they are what is created")
        return cls(url.username, schema, url.database or "", SecretStr(str(url.password)))


def provision(admin: SecretStr, roles: Sequence[ServiceRole]) -> list[str]:
    """Makes *roles* and their schemas exist in the database of the *admin* DSN; what was created, in words.

    All or nothing: one transaction, one runner at a time.

    Raises:
        AddressError: The admin DSN cannot be used.
        ProvisionError: A role's DSN names another database, another service's role or one with too much power; or the
            server cannot be reached or refuses.
    """
    url = parse(admin)
    for role in roles:
        if role.database != url.database:
            raise ProvisionError(
                f"the DSN of {role.schema} names database {role.database!r}, the administrator's {url.database!r}: "
                "use one database for all"
            )
    if len({role.name for role in roles}) != len(roles):
        raise ProvisionError("two services' DSNs name the same role: each needs its own, or it could read the others'")
    with _transaction(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [TURN_KEY])
        return [line for role in roles for line in _ensure(connection, role)]


@contextmanager
def _transaction(url: URL) -> Iterator[psycopg.Connection[Any]]:
    # Keywords, not a URL: libpq quotes a URL it cannot parse in its error, password included.
    keywords: dict[str, Any] = {
        **url.query,
        **url.translate_connect_args(username="user", database="dbname"),
        "connect_timeout": CONNECT_TIMEOUT,
        "application_name": "fbc-provision",
        "options": f"-c statement_timeout={STATEMENT_TIMEOUT}s",
    }
    try:
        with psycopg.connect(make_conninfo(**keywords)) as connection:
            yield connection
    except psycopg.Error as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ProvisionError(f"roles and schemas could not be ensured at {shown(url)}: {reason}") from error


def _ensure(connection: psycopg.Connection[Any], role: ServiceRole) -> Iterator[str]:
    name, schema = sql.Identifier(role.name), sql.Identifier(role.schema)
    if not _exists(connection, "SELECT FROM pg_roles WHERE rolname = %s", role.name):
        connection.execute(sql.SQL("CREATE ROLE {}").format(name))
        yield f"role {role.name}"
    elif _exists(connection, "SELECT FROM pg_roles WHERE rolname = %s AND (rolsuper OR rolcreaterole)", role.name):
        raise ProvisionError(
            f"role {role.name} may do more than own {role.schema}: a service that is taken over must not take the rest "
            "with it; name another role in its DSN"
        )
    connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, _verifier(connection, role)))
    if not _exists(connection, "SELECT FROM pg_roles WHERE rolname = current_user AND rolsuper"):
        # Giving a schema to somebody needs membership; only a superuser may do it without.
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(name))
    if not _exists(connection, "SELECT FROM pg_namespace WHERE nspname = %s", role.schema):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        yield f"schema {role.schema}"
    connection.execute(sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(schema, name))
    connection.execute(sql.SQL("REVOKE ALL ON SCHEMA {} FROM PUBLIC").format(schema))
    database = sql.Identifier(role.database)
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, name))
    connection.execute(sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = {}").format(name, database, schema))


def _verifier(connection: psycopg.Connection[Any], role: ServiceRole) -> sql.Literal:
    """The password as the SCRAM verifier the server stores: a server that logs DDL must not log the password."""
    password = role.password.get_secret_value().encode()
    return sql.Literal(connection.pgconn.encrypt_password(password, role.name.encode(), b"scram-sha-256").decode())


def _exists(connection: psycopg.Connection[Any], query: str, *parameters: str) -> bool:
    return connection.execute(query, parameters).fetchone() is not None
