"""`fbc dev`: the whole connector on this machine, started, watched, scaled and stopped.

Data go to standard output, messages to standard error. Exit codes: 0 done, 1 failed, 3 no stack runs here.
"""

import json
import time
from collections import deque
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli.output import Output, OutputOption

if TYPE_CHECKING:
    from embedded.control import Request
    from embedded.options import Options
    from embedded.state import StackState

app = typer.Typer(no_args_is_help=True)

NO_STACK = 3
SCALE_SECONDS = 150.0
FOLLOW_SECONDS = 0.2


class EmulatorKeep(StrEnum):
    """What the emulator keeps of each member."""

    COUNTS = "counts"
    DIGESTS = "digests"
    ROWS = "rows"


@app.command()
def up(
    nodes: Annotated[int, typer.Option(help="Kafka nodes: 1 or 3")] = 1,
    uploaders: Annotated[int, typer.Option(min=0, max=32, help="processes of the uploader")] = 1,
    only: Annotated[str | None, typer.Option(help="start these only, e.g. kafka,postgres,moto,emulator")] = None,
    kafka: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="use this broker instead of starting one")
    ] = None,
    postgres: Annotated[
        str | None,
        typer.Option(metavar="DSN", envvar="FBC_DEV_POSTGRES", help="use this server (a URL) instead of starting one"),
    ] = None,
    emulator_keep: Annotated[EmulatorKeep, typer.Option(help="what the emulator keeps")] = EmulatorKeep.DIGESTS,
) -> None:
    """Starts Kafka, PostgreSQL, the object store, the emulator and the services; a second time it changes nothing.

    The state lives in .fbc (or FBC_HOME). A part that cannot start is named with the end of its log.
    """
    from pydantic import ValidationError  # noqa: PLC0415 -- light commands stay quick

    from embedded.options import Options  # noqa: PLC0415 -- same

    given: dict[str, object] = {} if only is None else {"only": tuple(name.strip() for name in only.split(","))}
    given |= {"nodes": nodes, "uploaders": uploaders, "kafka": kafka, "postgres": postgres}
    try:
        options = Options.model_validate(given | {"emulator_keep": emulator_keep.value})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        _fail(f"--{'.'.join(map(str, first['loc']))}: {first['msg']}")
    _up(options)


def _up(options: "Options") -> None:
    from rich.console import Console  # noqa: PLC0415 -- light commands stay quick

    from cli.stack_view import parts_table, watching  # noqa: PLC0415 -- same
    from embedded.errors import EmbeddedError  # noqa: PLC0415 -- same
    from embedded.launch import up as bring_up  # noqa: PLC0415 -- same
    from embedded.state import home  # noqa: PLC0415 -- same

    messages = Console(stderr=True)
    begin = time.monotonic()
    try:
        with watching(messages) as seen:
            stack = bring_up(home(), options, seen, _say)
    except EmbeddedError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted: what had been started is stopped again")
    Console().print(parts_table(stack.state.parts))
    if stack.started:
        messages.print(f"up in {time.monotonic() - begin:.1f} s; next: fbc dev status, fbc dev down", highlight=False)
    else:
        messages.print(
            "it was up already, nothing was changed; other options need `fbc dev down` first", highlight=False
        )


@app.command()
def down(
    *,
    wipe: Annotated[bool, typer.Option("--wipe", help="delete its data and secrets too; the logs stay")] = False,
) -> None:
    """Stops everything, also what a crash left behind; the data stay."""
    from embedded.errors import EmbeddedError  # noqa: PLC0415 -- light commands stay quick
    from embedded.launch import down as take_down  # noqa: PLC0415 -- same
    from embedded.state import home  # noqa: PLC0415 -- same

    try:
        stopped = take_down(home(), wipe=wipe)
    except EmbeddedError as error:
        _fail(str(error))
    _say("down" if stopped else f"nothing runs in {home()}")


@app.command()
def status(output: OutputOption = Output.TABLE) -> None:
    """Shows every part: its state, process, addresses, log, and how often it was started again."""
    from embedded.state import home, read  # noqa: PLC0415 -- light commands stay quick

    state = read(home())
    if state is None and output is Output.TABLE:
        _no_stack()
    supervised = state is None or state.supervisor.alive()
    orphaned = frozenset[str]() if state is None or supervised else _alive(state)
    if output is Output.JSON:
        parts = [] if state is None else [part.public() for part in state.parts]
        for part in parts:
            if not supervised:
                part["state"] = "orphaned" if part["name"] in orphaned else "stopped"
        typer.echo(json.dumps({"parts": parts}))
    elif state is not None:
        _print_parts(state, orphaned)
    if not supervised:
        _fail("the supervisor is gone: `fbc dev up` starts again, `fbc dev down` clears up")


def _alive(state: "StackState") -> frozenset[str]:
    return frozenset(part.name for part in state.parts if part.identity is not None and part.identity.alive())


def _print_parts(state: "StackState", orphaned: frozenset[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 -- light commands stay quick

    from cli.stack_view import parts_table  # noqa: PLC0415 -- same

    Console().print(parts_table(state.parts, orphaned))
    _say("logs: fbc dev logs NAME")


@app.command()
def scale(
    service: Annotated[str, typer.Argument(help="uploader")],
    count: Annotated[int, typer.Argument(min=0, max=32, help="how many processes")],
) -> None:
    """Runs COUNT processes of a service, each a part of its own; returns when they are ready, or gone."""
    from embedded.control import Scale  # noqa: PLC0415 -- light commands stay quick

    _ask(Scale(service=service, count=count))


@app.command()
def restart(name: Annotated[str, typer.Argument(help="a part, e.g. uploader-1")]) -> None:
    """Stops a part politely and starts it again; returns when it is ready."""
    from embedded.control import Restart  # noqa: PLC0415 -- light commands stay quick

    _ask(Restart(part=name))


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="a part, a step such as db-upgrade, or supervisor")],
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="go on until Ctrl-C")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, max=100_000, help="how many of the last lines")] = 100,
) -> None:
    """Prints the end of a part's log; logs outlive the stack."""
    from embedded.state import home  # noqa: PLC0415 -- light commands stay quick

    known = {path.stem: path for path in sorted((home() / "logs").glob("*.log"))}
    if not known:
        _no_stack()
    if name not in known:
        _fail(f"there is no log of {name}: there are {', '.join(known)}")
    try:
        _print_log(known[name], lines, follow=follow)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _print_log(path: Path, lines: int, *, follow: bool) -> None:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in deque(file, maxlen=lines):
            typer.echo(line, nl=False)
        while follow:
            fresh = file.read()
            if fresh:
                typer.echo(fresh, nl=False)
            else:
                time.sleep(FOLLOW_SECONDS)


# Its options are declared in cli/seed.py, which costs a second to import: it is loaded when it is called.
@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def seed(context: typer.Context) -> None:
    """Connects a profile to the emulator, so that deliveries have somewhere to go."""
    from cli.seed import seed as connect  # noqa: PLC0415 -- see above

    loaded = typer.Typer(pretty_exceptions_enable=False)
    loaded.command()(connect)
    loaded(context.args, prog_name="fbc dev seed")


def _ask(request: "Request") -> None:
    """Let the running supervisor do something and print what it says."""
    from embedded.control import ask  # noqa: PLC0415 -- light commands stay quick
    from embedded.errors import EmbeddedError  # noqa: PLC0415 -- same
    from embedded.state import home, read  # noqa: PLC0415 -- same

    state = read(home())
    if state is None or not state.supervisor.alive():
        _no_stack()
    try:
        _say(ask(state.control, request, SCALE_SECONDS))
    except EmbeddedError as error:
        _fail(str(error))


def _say(message: str) -> None:
    typer.echo(message, err=True)


def _fail(message: str) -> NoReturn:
    _say(f"error: {message}")
    raise typer.Exit(1)


def _no_stack() -> NoReturn:
    from embedded.state import home  # noqa: PLC0415 -- light commands stay quick

    _say(f"no stack runs in {home()}: `fbc dev up` starts one")
    raise typer.Exit(NO_STACK)
