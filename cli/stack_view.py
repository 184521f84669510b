"""How the local stack looks in a terminal: the live list while it starts, and the table of `fbc dev status`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from embedded.state import PartReport, PartState, Phase, StackState, StepReport, StepState

STYLES = {
    PartState.WAITING: "dim",
    PartState.STARTING: "yellow",
    PartState.READY: "green",
    PartState.RESTARTING: "red",
    PartState.STOPPING: "yellow",
    PartState.STOPPED: "dim",
    StepState.RUNNING: "yellow",
    StepState.DONE: "green",
    StepState.FAILED: "red",
}
REFRESH_PER_SECOND = 12


def parts_table(parts: tuple[PartReport, ...], orphaned: frozenset[str] = frozenset()) -> Table:
    """One row per part.

    Args:
        parts: What the state file says.
        orphaned: Names of parts whose process still runs although the supervisor is gone.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("part", "state", "pid", "restarts", "url"):
        table.add_column(heading, overflow="fold")
    for part in parts:
        state = Text("orphaned", "red") if part.name in orphaned else Text(part.state.value, STYLES[part.state])
        pid = "" if part.identity is None else str(part.identity.pid)
        urls = " · ".join(url for url in (part.url, part.control_url) if url)
        table.add_row(part.name, state, pid, str(part.restarts or ""), urls)
    return table


def _starting(state: StackState) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for part in state.parts:
        table.add_row(part.name, Text(part.state.value, STYLES[part.state]), part.url or "")
    for step in state.steps:
        style = STYLES.get(step.state, "dim")
        table.add_row(step.name, Text(step.state.value, style), "")
    return table


@contextmanager
def watching(console: Console) -> Iterator[Callable[[StackState], None]]:
    """What to show each state to while a stack starts: a live list in a terminal, else a line per change."""
    if not console.is_terminal:
        yield _Lines(console).show
        return
    with Live(console=console, refresh_per_second=REFRESH_PER_SECOND, transient=True) as live:
        yield lambda state: live.update(_starting(state))


class _Lines:
    """Says each change once, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, str] = {}

    def show(self, state: StackState) -> None:
        """Print what differs from the last time."""
        if state.phase not in {Phase.STARTING, Phase.READY}:
            return
        everything: tuple[PartReport | StepReport, ...] = (*state.parts, *state.steps)
        for one in everything:
            words = one.state.value
            if words != PartState.WAITING.value and self._said.get(one.name) != words:
                self._said[one.name] = words
                self._console.print(f"{one.name} {words}", highlight=False)
