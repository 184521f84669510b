"""`fbc demo` (what `make demo` runs): one file of people into an audience through a real broker, every sum checked."""

import asyncio
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli import services
from cli.deliveries import ENDED
from cli.people import Generated, write_people
from cli.publishing import Request, publish_files
from cli.seed import connect

app = typer.Typer()

POLL_SECONDS = 0.2
S3_LIMIT = 256 * 1024 * 1024
"""Larger files go through the local store: moto holds an object in memory once more for every ranged read."""
TIMEOUT = aiohttp.ClientTimeout(total=30)
PLACES = ("accepted", "invalid", "rejected", "waiting", "dead")


@dataclass(frozen=True)
class Check:
    """A sum that must agree, and whether it does."""

    name: str
    ok: bool


@dataclass(frozen=True)
class Job:
    """What is delivered: the file, its bytes and records, and what is known of it when it was invented here."""

    file: Path
    size: int
    records: int
    generated: Generated | None


@dataclass(frozen=True)
class Outcome:
    """What the demo saw: the ledger's totals beside what the emulator itself counted."""

    state: str
    revision: int
    audience_id: str
    totals: dict[str, int]
    members: int
    calls: int
    rows_received: int
    seconds: float


@app.command()
def demo(
    file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="deliver this file instead")] = None,
    people: Annotated[int, typer.Option(min=1, help="how many people to invent")] = 200_000,
    keep: Annotated[bool, typer.Option(help="leave the stack running")] = False,  # noqa: FBT002 -- a flag
    timeout: Annotated[float, typer.Option(help="seconds after which the demo gives up")] = 900.0,
) -> None:
    """Starts the stack, delivers a file, shows it arriving, and checks every sum. Exit code 1 if one is off."""
    if not _fbc("dev", "up"):
        raise typer.Exit(1)
    try:
        ok = _demonstrate(file, people, timeout, keep=keep)
    except (services.Unavailable, services.Refused) as error:
        raise services.fail(error) from None
    finally:
        if not keep:
            _fbc("dev", "down")
    raise typer.Exit(0 if ok else 1)


def _fbc(*arguments: str) -> bool:
    return subprocess.run([sys.executable, "-m", "cli", *arguments], check=False).returncode == 0  # noqa: S603 -- ourselves


def _demonstrate(file: Path | None, people: int, timeout: float, *, keep: bool) -> bool:
    console = Console()
    job = _job(file, people, console)
    try:
        outcome = asyncio.run(asyncio.wait_for(_deliver(job, console), timeout))
    except TimeoutError:
        console.print(f"the delivery did not end within {timeout:.0f} s: the logs are in the state folder, logs/*.log")
        return False
    checks = sums(outcome, job.records, job.generated)
    _print(console, outcome, checks, keep=keep)
    console.print(f"the same as JSON: {_save(outcome, checks)}")
    return all(check.ok for check in checks)


def _job(file: Path | None, people: int, console: Console) -> Job:
    """The file to deliver, counted before anything of ours reads it."""
    from embedded.state import home  # noqa: PLC0415 -- the demo extra

    if file is not None:
        return Job(file, file.stat().st_size, count_records(file), None)
    invented = home() / "people.ndjson"
    console.print(f"inventing {people:,} people in {invented}")
    generated = write_people(invented, people)
    return Job(invented, invented.stat().st_size, generated.records, generated)


async def _deliver(job: Job, console: Console) -> Outcome:
    profile = await connect("demo", 1, None)
    console.print(f"profile {profile['name']} is connected to {profile['ad_account']['id']}")
    variables = services.environment()
    started = time.monotonic()
    revision = time.time_ns() // 1_000_000
    request = Request(
        files=(job.file,),
        profile="demo",
        audience_name=f"Demo {revision}",
        audience_id=None,
        operation="add",
        layout="narrative-dataset",
        revision=revision,
        store="s3" if job.size <= S3_LIMIT else "local",
    )
    await publish_files(request, variables)
    delivery = await _watched(revision, job.records, services.ingest(variables))
    seconds = time.monotonic() - started
    audience = delivery.get("audience_id") or ""
    members, calls, rows = await _emulator_counted(variables["FBC_EMULATOR__CONTROL_URL"], audience)
    return Outcome(delivery["state"], revision, audience, delivery["totals"], members, calls, rows, round(seconds, 2))


def _save(outcome: Outcome, checks: list[Check]) -> Path:
    from embedded.state import home  # noqa: PLC0415 -- the demo extra

    result: Path = home() / "demo.json"
    document = {**asdict(outcome), "checks": [asdict(check) for check in checks]}
    result.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return result


async def _watched(revision: int, expected: int, ingest: services.Service) -> dict[str, Any]:
    """The delivery once it ended, with bars that move meanwhile."""
    columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        bars: dict[str, TaskID] = {
            name: progress.add_task(name, total=expected) for name in ("planned", "uploaded", "rejected")
        }
        while True:
            delivery: dict[str, Any] = await ingest.ask("GET", f"/v1/deliveries/{revision}")
            totals = delivery["totals"]
            progress.update(bars["planned"], completed=totals["records"])
            progress.update(bars["uploaded"], completed=totals["accepted"] + totals["invalid"])
            progress.update(bars["rejected"], completed=totals["rejected"])
            if delivery["state"] in ENDED:
                return delivery
            await asyncio.sleep(POLL_SECONDS)


async def _emulator_counted(control: str, audience: str) -> tuple[int, int, int]:
    """Members, calls and rows of *audience* as the emulator itself counted them."""
    if not audience:
        return 0, 0, 0
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        async with session.get(f"{control}/audiences/{audience}/count") as answer:
            members = (await answer.json())["count"]
        async with session.get(f"{control}/calls") as answer:
            calls = [call for call in await answer.json() if call["audience"] == audience and call["rows"]]
    return members, len(calls), sum(call["rows"] for call in calls)


def count_records(file: Path) -> int:
    """Lines that are not blank: counted here on its own, not by the planner that is being checked."""
    with file.open("rb") as lines:
        return sum(1 for line in lines if line.strip())


def sums(outcome: Outcome, expected: int, generated: Generated | None) -> list[Check]:
    """Everything that must agree."""
    totals = outcome.totals
    sent = totals["accepted"] + totals["invalid"]
    checks = [
        Check("the delivery is delivered", outcome.state == "delivered"),
        Check("records in the file = records in the ledger", expected == totals["records"]),
        Check(
            "records = accepted + invalid + rejected + waiting + dead",
            totals["records"] == sum(totals[p] for p in PLACES),
        ),
        Check("records that left = rows the emulator received, or more", 0 < sent <= outcome.rows_received),
    ]
    if generated is not None:
        wrong = generated.malformed + generated.without_identifier
        checks += [
            Check("rejected = wrong records put into the file", totals["rejected"] == wrong),
            Check(
                "members = accepted = good records put into the file",
                outcome.members == totals["accepted"] == generated.valid,
            ),
        ]
    return checks


def _print(console: Console, outcome: Outcome, checks: list[Check], *, keep: bool) -> None:
    table = Table(title=f"delivery {outcome.revision}: {outcome.state}", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_row("records in file", f"{outcome.totals['records']:,}")
    for place in PLACES:
        table.add_row(place, f"{outcome.totals[place]:,}")
    table.add_row("members in the audience", f"{outcome.members:,}")
    table.add_row("calls", f"{outcome.calls:,}")
    table.add_row("seconds", f"{outcome.seconds:,.1f}")
    table.add_section()
    for check in checks:
        table.add_row(check.name, "[green]✓[/]" if check.ok else "[red]✗[/]")
    console.print(table)
    if keep:
        console.print(f"look: fbc deliveries show {outcome.revision} · fbc dev status · fbc dev logs uploader-1")
    else:
        console.print("look: make demo KEEP=1, then fbc deliveries list · docs/life-of-a-delivery.md tells the story")
