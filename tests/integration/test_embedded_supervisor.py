"""The supervisor with small real processes: order, healing, scaling, following."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from embedded.control import Down, Request, Restart, Scale, ask
from embedded.errors import EmbeddedError
from embedded.http_probe import answers
from embedded.options import SCALABLE
from embedded.part import Part
from embedded.plan import Declared, Step
from embedded.ports import HOST, free_ports
from embedded.process import Command
from embedded.state import PartReport, PartState, Phase, StackState, read
from embedded.supervisor import Supervisor

SECONDS = 20.0


def web_server(name: str, folder: Path) -> Part:
    """A part that serves HTTP: the standard library's server."""
    (port,) = free_ports(1)
    argv = (sys.executable, "-m", "http.server", str(port), "--bind", HOST, "--directory", str(folder))
    url = f"http://{HOST}:{port}"
    return Part(name, lambda: Command(argv), partial(answers, url), url=url)


def python(script: str) -> Callable[[], Command]:
    """A one-shot program."""
    return lambda: Command((sys.executable, "-c", script))


@dataclass
class SmallPlan:
    """A plan of a stack made of web servers."""

    folder: Path
    parts: tuple[Declared, ...] = ()
    steps: tuple[Step, ...] = ()
    scales: bool = True
    needs_training: bool = False
    environment: dict[str, str] = field(default_factory=lambda: {"FBC_X": "y"})

    def uploader(self, number: int) -> Declared:
        """One more web server."""
        return Declared(web_server(f"{SCALABLE}-{number}", self.folder))

    def cli_env(self) -> dict[str, str]:
        """What a command line would be told."""
        return self.environment


@dataclass
class Stack:
    """A supervisor that runs in this process."""

    folder: Path
    task: "asyncio.Task[int]"

    async def state(self, condition: Callable[[StackState], bool]) -> StackState:
        """The state as soon as the condition holds."""
        async with asyncio.timeout(SECONDS):
            while True:
                state = read(self.folder)
                if state is not None and condition(state):
                    return state
                await asyncio.sleep(0.01)

    async def part(self, name: str, condition: Callable[[PartReport], bool]) -> PartReport:
        """The part as soon as the condition holds."""
        state = await self.state(lambda state: (part := state.part(name)) is not None and condition(part))
        found = state.part(name)
        assert found is not None
        return found

    async def ask(self, request: Request) -> str:
        """Ask it as `fbc` does."""
        state = read(self.folder)
        assert state is not None
        return await asyncio.to_thread(ask, state.control, request, SECONDS)


@asynccontextmanager
async def running(folder: Path, plan: SmallPlan) -> AsyncIterator[Stack]:
    """A supervisor at work; stopped at the end as `down` stops it."""
    (folder / "logs").mkdir()
    stack = Stack(folder, asyncio.create_task(Supervisor(folder, plan).run()))
    try:
        await stack.state(lambda state: state.phase is not Phase.STARTING)
        yield stack
    finally:
        if not stack.task.done():
            await stack.ask(Down())
        await asyncio.wait_for(stack.task, SECONDS)


def ready(part: PartReport) -> bool:
    """Whether the part serves."""
    return part.state is PartState.READY


class TestStart:
    async def test_steps_run_between_what_they_need_and_what_needs_them(self, tmp_path: Path) -> None:
        """A step sees its server up, and the part after it starts only when the step is done."""
        first, last = web_server("first", tmp_path), web_server("last", tmp_path)
        script = f"import urllib.request; urllib.request.urlopen('{first.url}'); open('{tmp_path}/done', 'w')"
        late = Part(
            "last",
            command=lambda: last.command() if (tmp_path / "done").exists() else Command(("false",)),
            probe=last.probe,
        )
        plan = SmallPlan(
            tmp_path,
            parts=(Declared(late, after=frozenset({"step"})), Declared(first, borrowed=True)),
            steps=(Step("step", python(script), frozenset({"first"})),),
        )
        async with running(tmp_path, plan) as stack:
            state = await stack.state(lambda state: state.phase is Phase.READY)
            assert ["ready", "ready"] == [part.state.value for part in state.parts]
            assert ["done"] == [step.state.value for step in state.steps]
            assert {"FBC_X": "y"} == state.cli_env

    async def test_a_step_that_fails_stops_what_was_started(self, tmp_path: Path) -> None:
        """The failure names the step, its exit code and its last words; no process is left."""
        server = Declared(web_server("server", tmp_path), borrowed=True)
        step = Step("db-ensure", python("import sys; sys.exit('no such role')"), frozenset({"server"}))
        async with running(tmp_path, SmallPlan(tmp_path, (server,), (step,))) as stack:
            assert await stack.task == 1
        state = read(tmp_path)
        assert state is not None
        assert Phase.FAILED is state.phase
        assert "db-ensure ended with exit code 1\nno such role" in (state.failure or "")
        assert [PartState.STOPPED] == [part.state for part in state.parts]
        with pytest.raises(OSError, match="Connect"):
            await answers(server.part.url or "")


class TestHealing:
    async def test_a_killed_part_comes_back_at_its_address(self, tmp_path: Path) -> None:
        """SIGKILL costs a moment: another process answers at the same port, and the restart is counted."""
        server = web_server("server", tmp_path)
        async with running(tmp_path, SmallPlan(tmp_path, (Declared(server),))) as stack:
            before = await stack.part("server", ready)
            assert before.identity is not None
            os.kill(before.identity.pid, signal.SIGKILL)
            after = await stack.part("server", lambda part: part.restarts == 1 and ready(part))
            assert after.identity != before.identity
            assert await answers(server.url or "")

    async def test_who_follows_a_part_is_restarted_after_it(self, tmp_path: Path) -> None:
        """A new emulator draws a new app secret, so auth, which holds it, is started anew; nobody else is."""
        leader = Declared(web_server("emulator", tmp_path), borrowed=True)
        follower = Declared(web_server("auth", tmp_path), follows=frozenset({"emulator"}))
        bystander = Declared(web_server("ingest", tmp_path))
        async with running(tmp_path, SmallPlan(tmp_path, (leader, follower, bystander))) as stack:
            await stack.ask(Restart(part="emulator"))
            await stack.part("auth", lambda part: part.restarts == 1 and ready(part))
            assert (await stack.part("ingest", ready)).restarts == 0


class TestScale:
    async def test_processes_come_and_go(self, tmp_path: Path) -> None:
        """Each process is a part of its own; what is taken away is gone from the list and the machine."""
        async with running(tmp_path, SmallPlan(tmp_path)) as stack:
            assert await stack.ask(Scale(service=SCALABLE, count=3)) == "uploader: 0 → 3"
            third = await stack.part("uploader-3", ready)
            await stack.ask(Scale(service=SCALABLE, count=1))
            state = read(tmp_path)
            assert state is not None
            assert ["uploader-1"] == [part.name for part in state.parts]
            assert third.identity is not None
            assert not third.identity.alive()

    @pytest.mark.parametrize(
        ("request_", "words"),
        [(Scale(service="kafka", count=3), "kafka cannot be scaled"), (Restart(part="nope"), "no part is called nope")],
        ids=["a part that cannot be scaled", "an unknown part"],
    )
    async def test_what_cannot_be_done_is_refused_with_its_reason(
        self, tmp_path: Path, request_: Request, words: str
    ) -> None:
        """The running stack is not touched."""
        async with running(tmp_path, SmallPlan(tmp_path)) as stack:
            with pytest.raises(EmbeddedError, match=words):
                await stack.ask(request_)

    async def test_a_stranger_is_not_obeyed(self, tmp_path: Path) -> None:
        """Without the secret of the state file nobody on the machine can stop the stack."""
        async with running(tmp_path, SmallPlan(tmp_path)) as stack:
            state = read(tmp_path)
            assert state is not None
            guessed = state.control.model_copy(update={"secret": "guess"})
            with pytest.raises(EmbeddedError, match="secret is wrong"):
                await asyncio.to_thread(ask, guessed, Down(), SECONDS)
            assert not stack.task.done()
