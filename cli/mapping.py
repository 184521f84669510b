"""The option `--mapping`, for the commands that read files of people."""

from pathlib import Path
from typing import Annotated

import typer

from schemas.events import Layout
from schemas.match_keys import ColumnMapping

MappingOption = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="JSON: which column holds which key")
]


def mapping_of(layout: Layout | None, path: Path | None) -> ColumnMapping | None:
    """The mapping at *path*; None without one.

    Raises:
        BadParameter: It does not go with *layout*.
        MappingError: It is none; the text says where and what to do.
    """
    from connector.audience.mapping import read_mapping  # noqa: PLC0415 -- polars only for the command that needs it

    if path is None and layout is Layout.COLUMNS:
        raise typer.BadParameter("the layout columns needs --mapping")
    if path is not None and layout not in {None, Layout.COLUMNS}:
        raise typer.BadParameter("give --layout or --mapping, not both")
    return None if path is None else read_mapping(path.read_bytes())
