"""Database addresses, without a database."""

import pytest
from pydantic import SecretStr

from connector.database.address import AddressError, parse, shown
from connector.database.provision import ServiceRole


class TestParsing:
    @pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+asyncpg"])
    def test_the_driver_is_ours(self, scheme: str) -> None:
        """However PostgreSQL is spelt, psycopg 3 is the driver."""
        url = parse(SecretStr(f"{scheme}://role:p%40ss@db.example.test:5433/fbc?sslmode=require"))

        assert "postgresql+psycopg" == url.drivername
        assert ("role", "p@ss", "db.example.test", 5433, "fbc") == (
            url.username,
            url.password,
            url.host,
            url.port,
            url.database,
        )
        assert "require" == url.query["sslmode"]

    @pytest.mark.parametrize(
        "dsn",
        [
            "",
            "canary",
            "mysql://role:canary@host/fbc",
            "postgresql://role:canary@host",
            "postgresql://r:canary@h:x/fbc",
        ],
    )
    def test_what_cannot_be_used_is_not_shown(self, dsn: str) -> None:
        """The error says what is wrong and repeats nothing."""
        with pytest.raises(AddressError) as caught:
            parse(SecretStr(dsn))

        assert "canary" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_shown_without_the_password(self) -> None:
        """What an operator sees is enough to find the place."""
        assert "role@host:5/fbc" == shown(parse(SecretStr("postgresql://role:canary@host:5/fbc")))


class TestServiceRole:
    def test_comes_from_the_dsn(self) -> None:
        """The DSN a service is given says which role to make."""
        role = ServiceRole.of(SecretStr("postgresql://fbc_auth:canary@host/fbc"), "auth")

        assert ("fbc_auth", "auth", "fbc") == (role.name, role.schema, role.database)
        assert "canary" not in repr(role)

    @pytest.mark.parametrize("dsn", ["postgresql://host/fbc", "postgresql://role@host/fbc"])
    def test_needs_role_and_password(self, dsn: str) -> None:
        """A DSN that relies on the surroundings cannot be provisioned."""
        with pytest.raises(AddressError, match="auth needs a role"):
            ServiceRole.of(SecretStr(dsn), "auth")
