"""`fbc preview`: what would be sent of a file, what would not, and what to fix. It sends nothing."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from cli.mapping import MappingOption, mapping_of
from cli.output import Output, OutputOption
from connector.audience.preflight import RECORDS, Preflight, Thresholds
from schemas.events import Compression, Format, Layout

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer()

SHOWN_ROWS = 5
SHOWN_REJECTS = 10
SHOWN_DIGITS = 12
"""Of a hash in the table: enough to compare, and it fits."""

CANNOT_READ = 2


@app.command()
def preview(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="a file of people")],
    layout: Annotated[Layout | None, typer.Option(help="where in a record the match keys lie")] = None,
    mapping: MappingOption = None,
    file_format: Annotated[Format | None, typer.Option("--format", help="else the ending of its name tells")] = None,
    compression: Annotated[Compression | None, typer.Option(help="else the ending of its name tells")] = None,
    rows: Annotated[int, typer.Option(min=1, help="how many records to read")] = RECORDS,
    value_based: Annotated[bool, typer.Option(help="reject people without value")] = False,  # noqa: FBT002 -- a flag
    max_refused_cells: Annotated[float, typer.Option(min=0, max=1, help="share of a column")] = Thresholds.cells,
    max_rejected_rows: Annotated[float, typer.Option(min=0, max=1, help="share of the records")] = Thresholds.rows,
    output: OutputOption = Output.TABLE,
) -> None:
    """Shows what would be sent of FILE, what would not and why, and what its owner should fix. It sends nothing.

    The exit code is 1 when a delivery of the file would be refused, and 2 when it cannot be read at all.
    """
    from cli.heads import Unreadable, head, kind  # noqa: PLC0415 -- polars only for the command that needs it
    from connector.audience.heads import Look  # noqa: PLC0415 -- same
    from connector.audience.layouts import reading_of  # noqa: PLC0415 -- same
    from connector.audience.mapping import MappingError  # noqa: PLC0415 -- same
    from connector.audience.preflight import preflight  # noqa: PLC0415 -- same

    this_year = datetime.now(UTC).year
    try:
        mapped = mapping_of(layout, mapping)
        reading = reading_of(Layout.COLUMNS if mapped else layout or Layout.NARRATIVE_DATASET, mapped)
        look = Look(reading, this_year, rows, value_based, mapped.delimiter if mapped else None)
        found = preflight(
            head(file, kind(file, file_format, compression), look),
            reading,
            mapped=mapped is not None,
            thresholds=Thresholds(max_refused_cells, max_rejected_rows),
            this_year=this_year,
        )
    except (MappingError, Unreadable) as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(CANNOT_READ) from None
    if output is Output.JSON:
        sys.stdout.buffer.write(orjson.dumps(found.as_json(), option=orjson.OPT_APPEND_NEWLINE))
    else:
        _print(found)
    raise typer.Exit(1 if found.would_refuse else 0)


def _print(found: Preflight) -> None:
    from rich.console import Console  # noqa: PLC0415 -- only for people
    from rich.table import Table  # noqa: PLC0415 -- same

    console = Console(highlight=False, markup=False)
    lost = sum(rejected.column is None for rejected in found.rejected)
    console.print(f"{found.records} records read: {len(found.rows)} rows would leave, {lost} records would not.")
    coverage = Table("key", "filled", "distinct", "as it leaves")
    for place, key in enumerate(found.schema):
        cells = [_short(row[place]) for row in found.rows[:SHOWN_ROWS] if row[place] != ""]
        coverage.add_row(key, str(found.coverage[key].filled), str(found.coverage[key].distinct), " ".join(cells))
    if found.schema:
        console.print(coverage)
    _print_rejected(found, console)
    for warned in found.warnings:
        console.print(f"! {warned.advice}", markup=False)
    console.print(
        "A delivery of this file would be refused." if found.would_refuse else "A delivery would be accepted."
    )


def _print_rejected(found: Preflight, console: "Console") -> None:
    from rich.table import Table  # noqa: PLC0415 -- only for people

    if not found.rejected:
        return
    table = Table("record", "column", "reason", title=f"left out: the first {SHOWN_REJECTS} of {len(found.rejected)}")
    for rejected in found.rejected[:SHOWN_REJECTS]:
        table.add_row(str(rejected.row), rejected.column or "(the whole record)", rejected.reason)
    console.print(table)


def _short(cell: object) -> str:
    text = cell if isinstance(cell, str) else orjson.dumps(cell).decode()
    return f"{text[:SHOWN_DIGITS]}…" if len(text) > SHOWN_DIGITS else text
