"""`fbc dev` as a user meets it: the command line, real parts, crashes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from embedded.identity import Identity, gone_within
from embedded.state import ControlAddress, PartReport, Phase, StackState, read, write
from embedded.unprivileged import stand_in

PARTS = "postgres,moto"
GONE_SECONDS = 10.0


class Stack:
    """The command line on one state folder."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def fbc(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `fbc dev …` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "cli", "dev", *arguments],
            env={**os.environ, "FBC_HOME": str(self.home), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def up(self) -> "subprocess.CompletedProcess[str]":
        """Start two quick parts."""
        return self.fbc("up", "--only", PARTS)

    def parts(self) -> dict[str, dict[str, Any]]:
        """What `status -o json` says, by name."""
        parts = json.loads(self.fbc("status", "-o", "json").stdout)["parts"]
        return {part["name"]: part for part in parts}

    def state(self, condition: Callable[[StackState], bool]) -> StackState:
        """The state file as soon as the condition holds."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            state = read(self.home)
            if state is not None and condition(state):
                return state
            time.sleep(0.02)
        raise TimeoutError(f"not within 20 s: {read(self.home)}")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A state folder of its own, cleared away at the end."""
    one = Stack(tmp_path / "state")
    yield one
    assert one.fbc("down", "--wipe").returncode == 0
    assert not stand_in(one.home / "postgres").exists()


def identities(state: StackState) -> list[Identity]:
    """Every process of a stack."""
    return [state.supervisor, *(part.identity for part in state.parts if part.identity is not None)]


def working_in(folder: Path) -> list[Path]:
    """Processes whose working folder is `folder`: moto's is the state folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may end while we look
            if (process / "cwd").resolve() == folder:
                found.append(process)
    return found


class TestUpAndDown:
    def test_up_starts_up_again_changes_nothing_and_down_leaves_nothing(self, stack: Stack) -> None:
        """The whole life of a stack, by exit codes and processes."""
        first = stack.up()
        assert first.returncode == 0, first.stderr
        running = identities(stack.state(lambda state: state.phase is Phase.READY))
        assert len(running) == 3
        again = stack.up()
        assert (again.returncode, "nothing was changed" in again.stderr) == (0, True)
        assert running == identities(stack.state(lambda state: state.phase is Phase.READY))
        assert stack.fbc("down").returncode == 0
        assert [False] * 3 == [process.alive() for process in running]
        assert {} == stack.parts()
        assert "nothing runs" in stack.fbc("down").stderr

    def test_status_has_the_shape_scripts_rely_on(self, stack: Stack) -> None:
        """Every part shows name, state, pid, log; the log exists."""
        stack.up()
        parts = stack.parts()
        assert set(PARTS.split(",")) == set(parts)
        for name, part in parts.items():
            assert (name, "ready") == (part["name"], part["state"])
            assert Identity.of(part["pid"]).alive()
            assert Path(part["log"]).is_file()
        assert parts["moto"]["url"].startswith("http://127.0.0.1:")
        assert "url" not in parts["postgres"]

    def test_data_survive_down_and_up(self, stack: Stack) -> None:
        """The same database answers to the same secrets after a restart of everything."""
        stack.up()
        password = (stack.home / "postgres" / "superuser-password").read_text()
        stack.fbc("down")
        stack.up()
        assert (stack.home / "postgres" / "superuser-password").read_text() == password
        assert stack.parts()["postgres"]["state"] == "ready"

    def test_without_a_stack_the_exit_code_says_so(self, stack: Stack) -> None:
        """3 for people's table, 0 and an empty list for scripts."""
        assert stack.fbc("status").returncode == 3
        empty = stack.fbc("status", "-o", "json")
        assert (0, {"parts": []}) == (empty.returncode, json.loads(empty.stdout))
        assert stack.fbc("scale", "uploader", "2").returncode == 3

    def test_the_state_folder_is_closed_to_others(self, stack: Stack) -> None:
        """Nobody else may list it; the secrets and the state file are the owner's alone."""
        stack.up()
        assert stack.home.stat().st_mode & 0o066 == 0
        for name in ("stack.json", "secrets", "logs"):
            assert (stack.home / name).stat().st_mode & 0o077 == 0


class TestFailure:
    def test_a_part_that_cannot_start_is_named_with_the_end_of_its_log(self, stack: Stack) -> None:
        """Exit code 1, the part, its words, what to do; what had been started is stopped again."""
        stack.up()
        assert len(working_in(stack.home)) == 1
        data = Path(f"/proc/{stack.parts()['postgres']['pid']}/cwd").resolve()
        stack.fbc("down")
        (data / "PG_VERSION").write_text("9.6\n")
        failed = stack.up()
        assert failed.returncode == 1
        assert "postgres ended with code 1" in failed.stderr
        assert "initialized by PostgreSQL version 9.6" in failed.stderr
        assert "what to do:" in failed.stderr
        assert {} == stack.parts()
        assert [] == working_in(stack.home)

    def test_an_unknown_part_is_refused_before_anything_starts(self, stack: Stack) -> None:
        """A typing error in `--only` costs nothing."""
        refused = stack.fbc("up", "--only", "postgras")
        assert (1, True) == (refused.returncode, "postgras" in refused.stderr)
        assert read(stack.home) is None


class TestCrashes:
    def test_a_killed_part_is_brought_back_and_counted(self, stack: Stack) -> None:
        """SIGKILL of PostgreSQL: the supervisor starts it again and says so."""
        stack.up()
        os.kill(stack.parts()["postgres"]["pid"], signal.SIGKILL)
        stack.state(lambda state: any(part.restarts == 1 and part.state.value == "ready" for part in state.parts))
        assert stack.parts()["postgres"]["restarts"] == 1
        assert "postgres ended (signal 9)" in stack.fbc("logs", "supervisor").stdout

    def test_after_a_killed_supervisor_up_starts_anew(self, stack: Stack) -> None:
        """Status says what happened; the next `up` has a whole stack again, and none of the old processes."""
        stack.up()
        old = identities(stack.state(lambda state: state.phase is Phase.READY))
        os.kill(old[0].pid, signal.SIGKILL)
        assert gone_within(old[0], GONE_SECONDS)
        told = stack.fbc("status")
        assert (1, True) == (told.returncode, "supervisor is gone" in told.stderr)
        assert stack.up().returncode == 0
        assert [False] * 3 == [process.alive() for process in old]
        assert {"ready"} == {part["state"] for part in stack.parts().values()}

    def test_down_ends_recorded_processes_and_no_others(self, stack: Stack) -> None:
        """Of a crashed stack, a recorded process is stopped; one that only has a recorded pid is not."""
        ours, stranger = (subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(2))
        try:
            stack.home.mkdir()
            log = stack.home / "x.log"
            parts = (
                PartReport(name="ours", identity=Identity.of(ours.pid), log=log),
                PartReport(name="stranger", identity=Identity(pid=stranger.pid, born="earlier"), log=log),
            )
            dead = Identity(pid=ours.pid, born="earlier")
            control = ControlAddress(host="127.0.0.1", port=1, secret="x")
            write(stack.home, StackState(phase=Phase.READY, supervisor=dead, control=control, parts=parts))
            assert stack.fbc("down").returncode == 0
            assert -signal.SIGTERM == ours.wait(5)
            assert stranger.poll() is None
        finally:
            for process in (ours, stranger):
                process.kill()
                process.wait()
