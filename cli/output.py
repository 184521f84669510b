"""How commands answer: a table for people, JSON for scripts."""

from enum import StrEnum
from typing import Annotated

import typer


class Output(StrEnum):
    """How a command answers."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("-o", "--output", help="table for people, json for scripts")]
