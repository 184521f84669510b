"""`fbc schemas`: the generated contract files, written or checked against the models."""

from pathlib import Path

import typer

import schemas as schemas_package

app = typer.Typer(no_args_is_help=True, help="The contract on the wire: generated files and their drift.")

FOLDER = Path(schemas_package.__file__).parent


def expected() -> dict[str, bytes]:
    """Every generated file of the contract by its path within `schemas/`."""
    from connector.kafka.asyncapi import document  # noqa: PLC0415 -- heavy imports only for the command that needs them
    from schemas.generated import digest, expected_files, pretty, released  # noqa: PLC0415 -- same

    generated = expected_files()
    digests = {path: digest(content) for path, content in generated.items()}
    recorded = released() if (FOLDER / "released.json").exists() else {}
    generated["released.json"] = pretty({**digests, **recorded})
    generated["asyncapi.json"] = pretty(document("1.0.0"))
    return generated


def drift(generated: dict[str, bytes]) -> list[str]:
    """The paths whose committed content is missing or different."""
    return [
        path
        for path, content in sorted(generated.items())
        if not (FOLDER / path).exists() or (FOLDER / path).read_bytes() != content
    ]


@app.command()
def export() -> None:
    """Writes the generated files. A released file is never overwritten: raise the version in schemas/registry.py."""
    from schemas.generated import digest, released  # noqa: PLC0415 -- heavy imports only for the command that needs them

    recorded = released() if (FOLDER / "released.json").exists() else {}
    generated = expected()
    frozen = [path for path, content in generated.items() if path in recorded and recorded[path] != digest(content)]
    if frozen:
        for path in frozen:
            typer.echo(f"schemas/{path} is released and differs from the model: give the event a new version", err=True)
        raise typer.Exit(1)
    for path in drift(generated):
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_bytes(generated[path])
        typer.echo(f"schemas/{path}")


@app.command()
def check() -> None:
    """Fails when a committed file is not what the models say."""
    different = drift(expected())
    for path in different:
        typer.echo(f"schemas/{path} differs from the models: run `fbc schemas export` and commit", err=True)
    if different:
        raise typer.Exit(1)
