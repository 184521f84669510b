"""The state of a running stack, written to `stack.json` at every change: what `fbc dev` shows comes from here."""

from pathlib import Path
from typing import Any

from embedded.part import Part
from embedded.process import Child
from embedded.state import (
    ControlAddress,
    PartReport,
    PartState,
    Phase,
    StackState,
    StepReport,
    StepState,
    write,
)


class Board:
    """Holds the state and keeps the file equal to it.

    Args:
        folder: The state folder.
        state: What to begin with.
    """

    def __init__(self, folder: Path, state: StackState) -> None:
        self._folder = folder
        self.state = state
        write(folder, state)

    def phase(self, phase: Phase, *, failure: str | None = None, cli_env: dict[str, str] | None = None) -> None:
        """The stack as a whole is somewhere else now."""
        changes: dict[str, Any] = {"phase": phase, "failure": failure}
        self._change(changes if cli_env is None else changes | {"cli_env": cli_env})

    def listening(self, control: ControlAddress) -> None:
        """The supervisor can be talked to."""
        self._change({"control": control})

    def add_part(self, part: Part, log: Path) -> None:
        """A part belongs to the stack from now on, at the end of the list."""
        report = PartReport(name=part.name, url=part.url, control_url=part.control_url, log=log)
        self._change({"parts": (*self.state.parts, report)})

    def remove_part(self, name: str) -> None:
        """A part does not belong to the stack any more."""
        self._change({"parts": tuple(part for part in self.state.parts if part.name != name)})

    def add_step(self, name: str, log: Path) -> None:
        """A one-shot step belongs to the start."""
        self._change({"steps": (*self.state.steps, StepReport(name=name, log=log))})

    def step(self, name: str, state: StepState) -> None:
        """A step is somewhere else now."""
        moved = (step.model_copy(update={"state": state}) if step.name == name else step for step in self.state.steps)
        self._change({"steps": tuple(moved)})

    def part(self, name: str, state: PartState) -> None:
        """A part is somewhere else now; a stopped one has no process any more, a restarting one counts up."""
        changes: dict[str, Any] = {"state": state}
        if state in {PartState.STOPPED, PartState.RESTARTING}:
            changes["identity"] = None
        if state is PartState.RESTARTING:
            report = self.state.part(name)
            changes["restarts"] = 1 + (0 if report is None else report.restarts)
        self._change_part(name, changes)

    def process(self, name: str, child: Child) -> None:
        """A part has a process: recorded before it is ready, so that a crash of ours leaves none behind."""
        self._change_part(name, {"identity": child.identity, "stop": child.command.stop, "grace": child.command.grace})

    def _change_part(self, name: str, changes: dict[str, Any]) -> None:
        parts = (part.model_copy(update=changes) if part.name == name else part for part in self.state.parts)
        self._change({"parts": tuple(parts)})

    def _change(self, changes: dict[str, Any]) -> None:
        self.state = self.state.model_copy(update=changes)
        write(self._folder, self.state)
