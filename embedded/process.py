"""One child process: started in its own session with its own log, stopped politely and then not.

Everything the embedded stack runs goes through `Child`, so the rules live once: no inherited standard input,
both outputs appended to one log file, tied to our life (`tether.py`), SIGKILL after a stated grace.
"""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from embedded.identity import Identity

LOG_LIMIT_BYTES = 16 * 1024 * 1024
KILL_SECONDS = 10.0
TETHER = Path(__file__).with_name("tether.py")


@dataclass(frozen=True, slots=True)
class Owner:
    """An unprivileged user a program runs under when we are root."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Command:
    """How to run a program and how to end it.

    Attributes:
        argv: Program (absolute path, or a name found on PATH) and arguments.
        environment: The whole environment; nothing is inherited beside it.
        folder: Working folder.
        owner: User to run under, None for our own.
        stop: The signal that asks for a clean end.
        grace: Seconds it may take to end before SIGKILL.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    folder: Path = field(default_factory=Path.cwd)
    owner: Owner | None = None
    stop: signal.Signals = signal.SIGTERM
    grace: float = 10.0


class Child:
    """A running child process. Made by `spawn`.

    Attributes:
        command: What it runs, and how it is ended.
        identity: Pid and birth, what the state file records.
        log: The file both its outputs are appended to.
    """

    def __init__(self, command: Command, log: Path, process: asyncio.subprocess.Process, identity: Identity) -> None:
        self.identity = identity
        self.log = log
        self.command = command
        self._process = process

    @property
    def code(self) -> int | None:
        """Its exit code (negative: the signal that ended it), None while it runs."""
        return self._process.returncode

    @property
    def running(self) -> bool:
        """Whether it has not ended yet; a process that we paused runs."""
        return self._process.returncode is None

    async def ended(self) -> int:
        """Wait for its end and return the exit code. Unbounded: callers race it or bound it."""
        return await self._process.wait()

    async def stop(self) -> int:
        """Ask it to end, wait its grace, then SIGKILL; returns the exit code."""
        self._signal(self.command.stop)
        self._signal(signal.SIGCONT)  # a paused process would sleep through the request
        with suppress(TimeoutError):
            return await asyncio.wait_for(self._process.wait(), self.command.grace)
        return await self.kill()

    async def kill(self) -> int:
        """SIGKILL to its whole group, as a crash would end it; returns the exit code."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return await asyncio.wait_for(self._process.wait(), KILL_SECONDS)

    def pause(self) -> None:
        """Freeze it (SIGSTOP): it keeps its sockets and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


async def spawn(command: Command, log: Path) -> Child:
    """Start a program in its own session, its outputs appended to `log`.

    The calling thread must outlive the child: on Linux the child ends with it (`tether.py`).

    Raises:
        FileNotFoundError: The program does not exist.
    """
    program = shutil.which(command.argv[0])
    if program is None:
        raise FileNotFoundError(f"no program {command.argv[0]}")
    user = f"{command.owner.uid}:{command.owner.gid}" if command.owner else "-"
    tether = (sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), str(int(command.stop)), user)
    with _opened(log) as file:
        process = await asyncio.create_subprocess_exec(
            *tether,
            program,
            *command.argv[1:],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(command.environment),
            cwd=command.folder,
            start_new_session=True,
        )
    return Child(command, log, process, _identity(process.pid))


def _identity(pid: int) -> Identity:
    try:
        return Identity.of(pid)
    except ProcessLookupError:  # already over: an identity that no process has
        return Identity(pid=pid, born="ended at once")


def _opened(log: Path) -> BinaryIO:
    """Open a log for appending; one that has grown beyond the limit is kept as `<name>.1` and begun anew."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
    return log.open("ab")
