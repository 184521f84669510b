"""`fbc db`: roles, schemas and migrations of the services' database."""

import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from pydantic import SecretStr

    from connector.database.migrations import Migrations

app = typer.Typer(no_args_is_help=True)

SERVICES = ("ingest", "auth")
"""The services with a database; each has a schema of its name and `services/<name>/migrations`."""

ServiceOption = Annotated[
    list[str] | None, typer.Option("--service", help=f"only this one; repeatable: {', '.join(SERVICES)}")
]


@app.command()
def ensure() -> None:
    """Creates each service's role and schema if missing, and gives the roles the passwords of their DSNs."""
    from connector.database.address import AddressError  # noqa: PLC0415 -- heavy imports only for the command
    from connector.database.provision import ProvisionError, ServiceRole, provision  # noqa: PLC0415 -- same

    admin, *dsns = _dsns("admin", *SERVICES)
    try:
        roles = [ServiceRole.of(dsn, service) for dsn, service in zip(dsns, SERVICES, strict=True)]
        created = provision(admin, roles)
    except (AddressError, ProvisionError) as error:
        _fail(error)
    for line in created:
        typer.echo(f"created {line}")
    typer.echo(f"roles and schemas of {', '.join(SERVICES)} are in place", err=True)


@app.command()
def upgrade(service: ServiceOption = None) -> None:
    """Applies the migrations that are missing, each service's with its own role."""
    from connector.database.address import AddressError  # noqa: PLC0415 -- heavy imports only for the command
    from connector.database.migrations import MigrationError  # noqa: PLC0415 -- same

    for name in _chosen(service):
        (dsn,) = _dsns(name)
        try:
            before, after = _migrations(name).upgrade(dsn)
        except (AddressError, MigrationError) as error:
            _fail(error)
        typer.echo(f"{name}: {after or 'no revisions'}" + ("" if before == after else f" (was {before or 'empty'})"))


@app.command()
def current(service: ServiceOption = None) -> None:
    """Shows the revision each service's schema is at; exits with 1 when one is behind the code."""
    from connector.database.address import AddressError  # noqa: PLC0415 -- heavy imports only for the command
    from connector.database.migrations import MigrationError  # noqa: PLC0415 -- same

    behind = False
    for name in _chosen(service):
        (dsn,) = _dsns(name)
        migrations = _migrations(name)
        try:
            at, head = migrations.current(dsn), migrations.head()
        except (AddressError, MigrationError) as error:
            _fail(error)
        behind = behind or at != head
        typer.echo(f"{name}: {at or 'empty'}" + ("" if at == head else f" (the code is at {head}: `fbc db upgrade`)"))
    if behind:
        raise typer.Exit(1)


def _chosen(names: list[str] | None) -> list[str]:
    unknown = [name for name in names or () if name not in SERVICES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} has no database; choose from {', '.join(SERVICES)}")
    return names or list(SERVICES)


def _migrations(service: str) -> "Migrations":
    from importlib.resources import files  # noqa: PLC0415 -- heavy imports only for the command that needs them
    from pathlib import Path  # noqa: PLC0415 -- same

    from connector.database.migrations import Migrations  # noqa: PLC0415 -- same

    return Migrations(service, Path(str(files("services"))) / service / "migrations")


def _dsns(*names: str) -> "list[SecretStr]":
    """The DSNs in `FBC_DATABASE__<NAME>_DSN`; exits with 2 (usage) naming each missing variable."""
    import os  # noqa: PLC0415 -- beside its only use

    from pydantic import SecretStr  # noqa: PLC0415 -- heavy imports only for the command that needs them

    variables = {name: f"FBC_DATABASE__{name.upper()}_DSN" for name in names}
    missing = [variable for variable in variables.values() if not os.environ.get(variable)]
    if missing:
        sys.stderr.write(
            f"the environment lacks {', '.join(missing)} (postgresql://role:password@host:port/database)\n"
        )
        raise SystemExit(2)
    return [SecretStr(os.environ[variable]) for variable in variables.values()]


def _fail(error: Exception) -> NoReturn:
    typer.echo(f"error: {error}", err=True)
    raise typer.Exit(1)
