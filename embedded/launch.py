"""What `fbc dev up` and `fbc dev down` do from outside: start the supervisor, wait for it, clear up after a crash.

Blocking code: it runs in the user's shell, where Ctrl-C must work at any moment.
"""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from embedded.control import Down, ask
from embedded.errors import EmbeddedError, PartFailed
from embedded.identity import gone_within, stop_recorded
from embedded.jars import cache_home, cached, exclusive, recorded
from embedded.jvm import ensure_jvm
from embedded.options import Options, make_home
from embedded.state import Phase, StackState, forget, read
from embedded.unprivileged import stand_in

POLL_SECONDS = 0.03
DOWN_SECONDS = 55.0
ASK_SECONDS = 5.0
LOCK_SECONDS = 90.0
DATA = ("kafka", "postgres", "objects", "secrets")

Seen = Callable[[StackState], None]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Up:
    """A stack that is up.

    Attributes:
        state: What it is.
        started: False if it was up already.
    """

    state: StackState
    started: bool


def up(folder: Path, options: Options, seen: Seen, say: Say) -> Up:
    """Bring a stack up, or find it up.

    Args:
        folder: Its state folder.
        options: What to start; without effect on a stack that is up already.
        seen: Shown the state again and again while it starts.
        say: Told, in words, what takes long before there is any state.

    Raises:
        PartFailed: The supervisor itself did not start.
        EmbeddedError: A part could not start; the message names it. Nothing is left running.
    """
    options.checked()
    make_home(folder)
    with _alone(folder):
        found = _running(folder)
        if found is not None and found.phase is Phase.READY:
            return Up(found, started=False)
        clear(folder)
        if options.starts("kafka"):
            _fetch(say)
        return Up(_start(folder, options, seen), started=True)


def _fetch(say: Say) -> None:
    """Have Kafka's jars: here, not in the supervisor, because Ctrl-C must be able to end a download."""
    if not cached(cache_home(), recorded()):
        say(f"fetching Apache Kafka into {cache_home()} (43 MB, once)")
    ensure_jvm()


def down(folder: Path, *, wipe: bool = False) -> bool:
    """Stop everything of a stack, also what a crash left behind.

    Args:
        folder: Its state folder.
        wipe: Delete its data and secrets too; logs stay.

    Returns:
        Whether there was anything to stop.
    """
    if not folder.is_dir():
        return False
    with _alone(folder):
        stopped = clear(folder)
        if wipe:
            _wipe(folder)
    return stopped


def clear(folder: Path) -> bool:
    """Stop whatever the state file records, politely if the supervisor lives; whether there was anything.

    A recorded process is signalled only if its pid and its birth still agree.
    """
    state = read(folder)
    if state is None:
        return False
    if state.supervisor.alive():
        _end_supervisor(state)
    for part in reversed((read(folder) or state).parts):
        if part.identity is not None:
            stop_recorded(part.identity, part.stop, part.grace)
    forget(folder)
    return True


def _end_supervisor(state: StackState) -> None:
    try:
        ask(state.control, Down(), ASK_SECONDS)
    except EmbeddedError:
        stop_recorded(state.supervisor, signal.SIGTERM, DOWN_SECONDS)
    else:
        if not gone_within(state.supervisor, DOWN_SECONDS):
            stop_recorded(state.supervisor, signal.SIGTERM, ASK_SECONDS)


def _running(folder: Path) -> StackState | None:
    state = read(folder)
    return state if state is not None and state.supervisor.alive() else None


def _start(folder: Path, options: Options, seen: Seen) -> StackState:
    """Start the supervisor, detached from this terminal, and watch it bring the stack up."""
    log = folder / "logs" / "supervisor.log"
    try:
        process = _detached(folder, options, log)
        state = _follow(folder, process, log, seen)
    except BaseException:  # also Ctrl-C: half a stack is of no use to anybody
        clear(folder)
        raise
    if state.phase is Phase.READY:
        return state
    process.wait(DOWN_SECONDS)
    forget(folder)
    raise EmbeddedError(state.failure or "the stack was stopped while it was starting")


def _detached(folder: Path, options: Options, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            [sys.executable, "-m", "embedded", "--state", str(folder)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin:  # it may have died already: `_follow` says so
            process.stdin.write(options.model_dump_json().encode())
    return process


def _follow(folder: Path, process: subprocess.Popen[bytes], log: Path, seen: Seen) -> StackState:
    """Watch until the stack is up, or failed and down again. Every part bounds its own start.

    Raises:
        PartFailed: The supervisor ended without a word in the state file.
    """
    while True:
        code = process.poll()
        state = read(folder)
        if state is not None and state.supervisor.pid == process.pid:
            seen(state)
            if state.phase is Phase.READY or (code is not None and state.phase in {Phase.FAILED, Phase.STOPPING}):
                return state
        if code is not None:
            raise PartFailed("the supervisor", f"ended with code {code}", log, "read the log, then start again")
        time.sleep(POLL_SECONDS)


def _wipe(folder: Path) -> None:
    elsewhere = stand_in(folder / "postgres")
    for path in (elsewhere, *(folder / name for name in DATA)):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One `up` or `down` at a time per stack.

    Raises:
        EmbeddedError: Another one is under way for too long.
    """
    try:
        with exclusive(folder / ".lock", LOCK_SECONDS):
            yield
    except TimeoutError:
        raise EmbeddedError(
            f"another `fbc dev up` or `down` has been working on {folder} for {LOCK_SECONDS:g} s: let it end, or end it"
        ) from None
