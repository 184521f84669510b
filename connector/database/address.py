"""Database addresses: parsed once, so that nothing else ever splits a DSN or shows one."""

from pydantic import SecretStr
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DRIVER = "postgresql+psycopg"


class AddressError(Exception):
    """Raised when a DSN cannot be used; the text says what is wrong with it and shows no part of it."""


def parse(dsn: SecretStr) -> URL:
    """The address in *dsn* (`postgresql://role:password@host:port/database`), with psycopg 3 as its driver.

    Raises:
        AddressError: Not a URL, another database's URL, or one without a database name.
    """
    try:
        url = make_url(dsn.get_secret_value())
    except (ArgumentError, ValueError):
        # `from None`: the parser's own error may quote the text, password included.
        raise AddressError("the DSN is not a URL; write postgresql://role:password@host:port/database") from None
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise AddressError(f"the DSN names {url.get_backend_name()[:20]!r}; only postgresql is supported")
    if not url.database:
        raise AddressError("the DSN names no database; write postgresql://role:password@host:port/database")
    return url.set(drivername=DRIVER)


def shown(url: URL) -> str:
    """*url* for a person's eyes: role, host, port and database, never the password."""
    port = f":{url.port}" if url.port else ""
    return f"{url.username or ''}@{url.host or 'local socket'}{port}/{url.database}"
