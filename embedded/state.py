"""`stack.json`: what is running, where, and how to reach the supervisor. Cheap to import, for `fbc`.

state = read(home())
if state is not None and state.supervisor.alive():
    os.environ.update(state.cli_env)
"""

import os
import signal
import tempfile
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from embedded.identity import Identity

FILE = "stack.json"


def home() -> Path:
    """The state folder: `FBC_HOME`, else `.fbc` in the current folder; absolute, not created here."""
    return Path(os.environ.get("FBC_HOME") or ".fbc").absolute()


class Phase(StrEnum):
    """Where the stack as a whole is."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"


class PartState(StrEnum):
    """Where one part is."""

    WAITING = "waiting"  # for the parts it needs
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"  # it died; the supervisor waits and starts it again
    STOPPING = "stopping"
    STOPPED = "stopped"


class StepState(StrEnum):
    """Where a one-shot step is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class PartReport(BaseModel):
    """One part, as it is now.

    Attributes:
        name: Unique.
        state: Where it is.
        identity: Its process; None while there is none.
        url: Where clients reach it (of the emulator: the Graph side).
        control_url: Its control side.
        log: Absolute path of its log file.
        restarts: How often it was started again, since `up`.
        stop: The signal that ends it.
        grace: Seconds it may take to end.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    state: PartState = PartState.WAITING
    identity: Identity | None = None
    url: str | None = None
    control_url: str | None = None
    log: Path
    restarts: int = 0
    stop: signal.Signals = signal.SIGTERM
    grace: float = 10.0

    def public(self) -> dict[str, str | int | None]:
        """The shape `fbc dev status -o json` prints; `url` and `control_url` only where there are any."""
        urls = {"url": self.url, "control_url": self.control_url}
        return {
            "name": self.name,
            "state": self.state.value,
            "pid": None if self.identity is None else self.identity.pid,
            **{name: value for name, value in urls.items() if value is not None},
            "log": str(self.log),
            "restarts": self.restarts,
        }


class StepReport(BaseModel):
    """A command that runs to completion before the services start."""

    model_config = ConfigDict(frozen=True)

    name: str
    state: StepState = StepState.WAITING
    log: Path


class ControlAddress(BaseModel):
    """Where the supervisor listens (loopback), and the secret that whoever may read this file may use."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: int
    secret: str


class StackState(BaseModel):
    """The whole stack.

    Attributes:
        phase: Where it is.
        supervisor: The supervising process.
        control: How to talk to it.
        parts: Every part, in the order of their declaration.
        steps: Every one-shot step.
        failure: Why it could not start, for a person; set in phase `failed`.
        cli_env: Environment variables with which `fbc` works on this stack; complete in phase `ready`.
    """

    model_config = ConfigDict(frozen=True)

    phase: Phase
    supervisor: Identity
    control: ControlAddress
    parts: tuple[PartReport, ...] = ()
    steps: tuple[StepReport, ...] = ()
    failure: str | None = None
    cli_env: dict[str, str] = {}

    def part(self, name: str) -> PartReport | None:
        """The part of that name, if there is one."""
        return next((part for part in self.parts if part.name == name), None)


def read(folder: Path) -> StackState | None:
    """What the state file says, or None if there is none: no stack was started here, or it was stopped.

    The supervisor may have died since: ask `state.supervisor.alive()`.

    Raises:
        pydantic.ValidationError: The file is not ours.
    """
    try:
        return StackState.model_validate_json((folder / FILE).read_bytes())
    except FileNotFoundError:
        return None


def cli_environment() -> dict[str, str]:
    """The variables with which `fbc` works on the stack running in `home()`; empty if none runs there."""
    state = read(home())
    return {} if state is None or not state.supervisor.alive() else dict(state.cli_env)


def write(folder: Path, state: StackState) -> None:
    """Replace the state file atomically; only its owner may read it."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{FILE}.")  # mkstemp makes it 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(state.model_dump_json(indent=1))
    Path(name).replace(folder / FILE)


def forget(folder: Path) -> None:
    """Delete the state file: there is no stack any more."""
    (folder / FILE).unlink(missing_ok=True)
