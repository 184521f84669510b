"""`fbc docs`: the reference pages that are generated from code, written or checked."""

from pathlib import Path

import typer

from cli.reference import pages

app = typer.Typer(no_args_is_help=True)

FOLDER = Path("docs/reference")


def drift() -> list[str]:
    """Generated pages that are missing or differ from what the code says."""
    return [
        name
        for name, text in pages().items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]


@app.command()
def export() -> None:
    """Writes the generated pages into docs/reference."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in drift():
        (FOLDER / name).write_text(pages()[name], encoding="utf-8")
        typer.echo(f"docs/reference/{name}")


@app.command()
def check() -> None:
    """Fails when a committed page is not what the code says."""
    different = drift()
    for name in different:
        typer.echo(f"docs/reference/{name} differs from the code: run `fbc docs export` and commit", err=True)
    if different:
        raise typer.Exit(1)
