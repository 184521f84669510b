"""`fbc deliveries`: publish files as a delivery, and see what became of it."""

import asyncio
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from cli import services
from cli.mapping import MappingOption, mapping_of
from cli.output import Output, OutputOption
from cli.publishing import Request, publish_files
from schemas.events import Compression, Format, Layout

app = typer.Typer(no_args_is_help=True)

ENDED = {"delivered", "partly_delivered", "failed", "cancelled"}
NOT_ENDED_YET = 124
POLL_SECONDS = 0.25


class Operation(StrEnum):
    """What a published delivery does to the audience."""

    ADD = "add"
    REMOVE = "remove"
    REPLACE = "replace"


@app.command()
def publish(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, readable=True, help="files of people")],
    profile: Annotated[str, typer.Option(help="name of the connected profile")] = "demo",
    audience_name: Annotated[str | None, typer.Option(help="create this audience once, then go on using it")] = None,
    audience_id: Annotated[str | None, typer.Option(help="an existing audience of the profile's ad account")] = None,
    operation: Annotated[Operation, typer.Option(help="add or remove people, or replace all")] = Operation.ADD,
    layout: Annotated[Layout | None, typer.Option(help="where in a record the match keys lie")] = None,
    mapping: MappingOption = None,
    file_format: Annotated[Format | None, typer.Option("--format", help="else the endings of the names tell")] = None,
    compression: Annotated[Compression | None, typer.Option(help="else the endings of the names tell")] = None,
    revision: Annotated[int | None, typer.Option(help="identity of the delivery; default: the time in ms")] = None,
    store: Annotated[str, typer.Option(help="the configured object store to put the files into")] = "local",
    wait: Annotated[float, typer.Option(help="seconds to wait for the end")] = 0.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Publishes FILES as one delivery.

    With --wait the exit code tells: 0 delivered, 1 ended otherwise, 124 not ended yet.
    """
    if audience_id is not None and audience_name is not None:
        raise typer.BadParameter("give --audience-name or --audience-id, not both")
    from connector.audience.mapping import MappingError  # noqa: PLC0415 -- polars only for the command that needs it

    try:
        columns = mapping_of(layout, mapping)
    except MappingError as error:
        raise typer.BadParameter(str(error), param_hint="--mapping") from None
    request = Request(
        files=tuple(files),
        profile=profile,
        audience_name=audience_name,
        audience_id=audience_id,
        operation=operation.value,
        layout=Layout.COLUMNS if columns else layout or Layout.NARRATIVE_DATASET,
        mapping=columns,
        format=file_format,
        compression=compression,
        revision=revision if revision is not None else time.time_ns() // 1_000_000,
        store=store,
    )
    try:
        answer = asyncio.run(_publish(request, wait))
    except (services.Unavailable, services.Refused) as error:
        raise services.fail(error) from None
    _print_published(answer, output)
    if wait > 0 and answer["state"] != "delivered":
        raise typer.Exit(1 if answer["state"] in ENDED else NOT_ENDED_YET)


@app.command()
def show(revision: int, output: OutputOption = Output.TABLE) -> None:
    """Shows one delivery: its state, where its records are, and each file."""
    try:
        answer = asyncio.run(_show(revision))
    except (services.Unavailable, services.Refused) as error:
        raise services.fail(error) from None
    if output is Output.JSON:
        _print_json(answer)
    else:
        _print_delivery(answer)


@app.command("list")
def list_(
    state: Annotated[str | None, typer.Option(help="only deliveries in this state")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    output: OutputOption = Output.TABLE,
) -> None:
    """Lists deliveries, newest first."""
    params = {"limit": str(limit), **({"state": state} if state else {})}
    try:
        answer = asyncio.run(services.ingest(services.environment()).ask("GET", "/v1/deliveries", params=params))
    except (services.Unavailable, services.Refused) as error:
        raise services.fail(error) from None
    if output is Output.JSON:
        _print_json(answer)
        return
    table = Table("revision", "state", "audience", "records", "accepted", "invalid", "rejected", "waiting", "dead")
    for delivery in answer["deliveries"]:
        totals = delivery["totals"]
        numbers = (totals[name] for name in ("records", "accepted", "invalid", "rejected", "waiting", "dead"))
        audience = delivery.get("audience_id") or ""
        table.add_row(str(delivery["revision"]), delivery["state"], audience, *(f"{n:,}" for n in numbers))
    Console().print(table)


@app.command()
def release(revision: int, output: OutputOption = Output.TABLE) -> None:
    """Lets go on what of a delivery waits for a person, once the cause it names is mended.

    Ask for it again if not all of it waited yet: what does not wait is left alone.
    """
    try:
        ingest = services.ingest(services.environment())
        answer: dict[str, Any] = asyncio.run(ingest.ask("POST", f"/v1/deliveries/{revision}/release"))
    except (services.Unavailable, services.Refused) as error:
        raise services.fail(error) from None
    if output is Output.JSON:
        _print_json(answer)
    else:
        typer.echo(f"delivery {revision}: {answer['state']}; chunks that go on: {answer['released']:,}")


async def _publish(request: Request, wait: float) -> dict[str, Any]:
    variables = services.environment()
    answer = await publish_files(request, variables)
    if wait <= 0:
        return answer
    ingest = services.ingest(variables)
    deadline = time.monotonic() + wait
    while True:
        delivery: dict[str, Any] = await ingest.ask("GET", f"/v1/deliveries/{request.revision}")
        if delivery["state"] in ENDED or time.monotonic() >= deadline:
            kept = ("revision", "state", "audience_id", "totals", "reason")
            return {name: delivery[name] for name in kept if delivery.get(name) is not None}
        await asyncio.sleep(POLL_SECONDS)


async def _show(revision: int) -> dict[str, Any]:
    ingest = services.ingest(services.environment())
    delivery: dict[str, Any] = await ingest.ask("GET", f"/v1/deliveries/{revision}")
    files = await ingest.ask("GET", f"/v1/deliveries/{revision}/files")
    return {**delivery, "audience_id": delivery.get("audience_id"), "files": files["files"]}


def _print_json(answer: object) -> None:
    typer.echo(orjson.dumps(answer).decode())


def _print_published(answer: dict[str, Any], output: Output) -> None:
    if output is Output.JSON:
        _print_json(answer)
        return
    typer.echo(f"delivery {answer['revision']}: {answer['state']}")
    if "reason" in answer:
        typer.echo(f"  {_why(answer['reason'])}")
    for name, count in answer.get("totals", {}).items():
        typer.echo(f"  {name:<9} {count:>12,}")
    typer.echo(f"  fbc deliveries show {answer['revision']}", err=True)


def _print_delivery(answer: dict[str, Any]) -> None:
    console = Console()
    console.print(f"[bold]delivery {answer['revision']}[/]: {answer['state']}, audience {answer['audience_id'] or '-'}")
    reason = answer.get("reason")
    if reason:
        console.print(f"  {reason['code']}: {_why(reason)}", markup=False)
    columns = ("records", "accepted", "invalid", "rejected", "waiting", "dead")
    table = Table("file", "state", *columns, "why")
    for file in answer["files"]:
        reasons = file.get("reject_reasons") or {}
        why = (file.get("reason") or {}).get("message", "") or ", ".join(
            f"{name}: {n:,}" for name, n in reasons.items()
        )
        table.add_row(file["name"], file["state"], *(f"{file[column]:,}" for column in columns), why)
    totals = answer["totals"]
    table.add_section()
    table.add_row("all", answer["state"], *(f"{totals[column]:,}" for column in columns), "")
    console.print(table)
    for file in answer["files"]:
        for reject in file.get("rejects", [])[:10]:
            line = f", line {reject['line']}" if reject.get("line") else ""
            console.print(f"  {file['name']}: record {reject['record']}{line}: {reject['reason']}", markup=False)
        for name, count in file.get("cell_rejects", {}).items():
            console.print(f"  {file['name']}: values left out: {name}: {count:,}", markup=False)
        for warned in file.get("preflight", {}).get("warnings", []):
            console.print(f"! {file['name']}: {warned['advice']}", markup=False)


def _why(reason: dict[str, Any]) -> str:
    """A reason as sentences: what it is, and what to do."""
    return f"{reason['message'].rstrip('.')}. {reason.get('advice', '')}".rstrip()
