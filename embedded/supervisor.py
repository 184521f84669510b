"""The supervisor: brings the stack up in order, keeps every part alive, takes it down in order."""

import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import Protocol, assert_never

from embedded.board import Board
from embedded.control import ControlServer, Down, Request, Restart, Scale
from embedded.errors import EmbeddedError, PartFailed, WrongRequest
from embedded.identity import Identity
from embedded.kafka import training
from embedded.keeper import Keeper, describe
from embedded.options import SCALABLE
from embedded.plan import Declared, Step
from embedded.process import Child, spawn
from embedded.state import ControlAddress, Phase, StackState, StepState

STEP_SECONDS = 60.0

log = logging.getLogger(__name__)


class Plan(Protocol):
    """What a supervisor needs to know of a stack; `StackPlan` is the one `fbc dev` uses."""

    @property
    def parts(self) -> tuple[Declared, ...]:
        """Everything that keeps running."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """What has to be done once, in between."""

    @property
    def scales(self) -> bool:
        """Whether processes of the uploader may be added."""

    @property
    def needs_training(self) -> bool:
        """Whether the broker's ahead-of-time cache is to be made once everything is up."""

    def uploader(self, number: int) -> Declared:
        """One process of the uploader."""

    def cli_env(self) -> dict[str, str]:
        """What `fbc` needs to work on this stack."""


class Supervisor:
    """Runs one stack until it is told to stop.

    Args:
        folder: The state folder.
        plan: What to run.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        nowhere = ControlAddress(host="", port=0, secret="")  # replaced as soon as it listens
        begin = StackState(phase=Phase.STARTING, supervisor=Identity.of(os.getpid()), control=nowhere)
        self._plan = plan
        self._logs = folder / "logs"
        self._board = Board(folder, begin)
        self._control = ControlServer(self._handle)
        self._keepers: dict[str, Keeper] = {}
        self._declared: dict[str, Declared] = {}
        self._done: dict[str, asyncio.Event] = {}
        self._stop = asyncio.Event()
        self._changing = asyncio.Lock()
        self._following: set[asyncio.Task[None]] = set()
        self._trainer: Child | None = None

    async def run(self) -> int:
        """Up, until stopped, down; 0 if it was up."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        self._board.listening(await self._control.open())
        failure = "the supervisor failed: its log says where"  # unless we get to know better
        try:
            await self._up_or_stopped()
            await self._stop.wait()
            failure = ""
        except EmbeddedError as error:
            failure = str(error)
            log.error("the stack cannot start: %s", failure)  # noqa: TRY400 - the message says it all
        finally:
            await self._finish(failure)
        return 1 if failure else 0

    async def _finish(self, failure: str) -> None:
        await self._bring_down()
        self._board.phase(Phase.FAILED if failure else Phase.STOPPING, failure=failure or None)

    async def _up_or_stopped(self) -> None:
        """Bring everything up; give up at once when told to stop meanwhile."""
        up = asyncio.create_task(self._bring_up())
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait({up, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not up.done():
            up.cancel()
        stopped.cancel()
        await asyncio.gather(up, stopped, return_exceptions=True)
        if not up.cancelled():
            up.result()

    async def _bring_up(self) -> None:
        parts, steps = self._plan.parts, self._plan.steps
        for declared in parts:
            self._adopt(declared)
        for step in steps:
            self._board.add_step(step.name, self._log(step.name))
        self._done = {name: asyncio.Event() for name in (*self._keepers, *(step.name for step in steps))}
        try:
            async with asyncio.TaskGroup() as group:
                for declared in parts:
                    group.create_task(self._start(declared))
                for step in steps:
                    group.create_task(self._perform(step))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        self._board.phase(Phase.READY, cli_env=self._plan.cli_env())
        log.info("the stack is up")
        await self._train()

    def _adopt(self, declared: Declared) -> Keeper:
        part = declared.part
        self._board.add_part(part, self._log(part.name))
        self._declared[part.name] = declared
        self._keepers[part.name] = Keeper(part, self._log(part.name), self._board, self._revived)
        return self._keepers[part.name]

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    async def _start(self, declared: Declared) -> None:
        await self._reached(declared.after)
        await self._keepers[declared.part.name].start()
        self._done[declared.part.name].set()

    async def _reached(self, names: frozenset[str]) -> None:
        """Wait for what is part of this stack; what is not (`--only`) is the caller's affair."""
        for name in names & self._done.keys():
            await self._done[name].wait()

    async def _perform(self, step: Step) -> None:
        await self._reached(step.after)
        self._board.step(step.name, StepState.RUNNING)
        child = await spawn(step.command(), self._log(step.name))
        try:
            code = await asyncio.wait_for(child.ended(), STEP_SECONDS)
        except TimeoutError:
            code = None
        finally:
            await child.stop()
        if code != 0:
            self._board.step(step.name, StepState.FAILED)
            reason = f"took longer than {STEP_SECONDS:g} s" if code is None else f"ended with {describe(code)}"
            advice = f"read the log, then start again; by hand: fbc {step.name.replace('-', ' ')}"
            raise PartFailed(step.name, reason, self._log(step.name), advice)
        self._board.step(step.name, StepState.DONE)
        self._done[step.name].set()

    async def _train(self) -> None:
        """Make the broker's ahead-of-time cache in the background, if this start had none."""
        if self._plan.needs_training:
            self._trainer = await spawn(training(), self._log("kafka-training"))

    def _revived(self, name: str) -> None:
        """A part came back: restart those that hold something of its former self."""
        for follower, declared in self._declared.items():
            if name in declared.follows:
                log.info("%s is restarted, because %s was", follower, name)
                task = asyncio.create_task(self._follow(follower))
                self._following.add(task)
                task.add_done_callback(self._following.discard)

    async def _follow(self, name: str) -> None:
        try:
            await self._keepers[name].restart()
        except EmbeddedError as error:  # its keeper goes on trying
            log.warning("%s", error)

    async def _handle(self, request: Request) -> str:
        match request:
            case Down():
                self._stop.set()
                return "stopping"
            case Scale():
                async with self._changing:
                    return await self._scale(request.service, request.count)
            case Restart():
                async with self._changing:
                    return await self._restart(request.part)
            case _:
                assert_never(request)

    async def _scale(self, service: str, count: int) -> str:
        if service != SCALABLE:
            raise WrongRequest(f"{service} cannot be scaled: only {SCALABLE} runs as several processes")
        if not self._plan.scales:
            raise WrongRequest(f"this stack was started without {SCALABLE}: start one that has it")
        self._refuse_unless_ready()
        have = sum(name.startswith(f"{SCALABLE}-") for name in self._keepers)
        added = [self._adopt(self._plan.uploader(number)) for number in range(have + 1, count + 1)]
        removed = [f"{SCALABLE}-{number}" for number in range(count + 1, have + 1)]
        work = (*(self._add(keeper) for keeper in added), *(self._remove(name) for name in removed))
        for outcome in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        return f"{SCALABLE}: {have} → {count}"

    async def _add(self, keeper: Keeper) -> None:
        """Start one more part of a running stack, or leave the stack as it was."""
        try:
            await keeper.start()
        except EmbeddedError:
            await self._remove(keeper.part.name)
            raise

    async def _remove(self, name: str) -> None:
        await self._keepers.pop(name).stop()
        self._declared.pop(name)
        self._board.remove_part(name)

    async def _restart(self, name: str) -> str:
        self._refuse_unless_ready()
        if name not in self._keepers:
            raise WrongRequest(f"no part is called {name}: the parts are {', '.join(self._keepers)}")
        await self._keepers[name].restart()
        return f"{name} was restarted"

    def _refuse_unless_ready(self) -> None:
        if self._board.state.phase is not Phase.READY:
            raise WrongRequest(f"the stack is {self._board.state.phase.value}: ask again when it is ready")

    async def _bring_down(self) -> None:
        """Services first, while what they write to is still there; then the infrastructure."""
        self._board.phase(Phase.STOPPING)
        for task in self._following:
            task.cancel()
        if self._trainer is not None:
            await self._trainer.stop()
        for borrowed in (False, True):
            names = [name for name, declared in self._declared.items() if declared.borrowed is borrowed]
            await asyncio.gather(*(self._keepers[name].stop() for name in names))
        await self._control.close()
        log.info("the stack is down")
