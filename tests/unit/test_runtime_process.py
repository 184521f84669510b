"""The life of a process: stop in order, fail loudly, never half alive."""

import asyncio
import os
import signal

import pytest

from connector.runtime.process import run, supervise
from connector.runtime.settings import ServiceSettings, SettingsError, load


class TestRun:
    def test_sigterm_is_a_clean_stop(self) -> None:
        """The first signal asks, the service returns, the exit code is 0."""

        async def serve(stop: asyncio.Event) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            await stop.wait()

        assert 0 == run("test", serve)

    def test_a_second_signal_ends_at_once(self) -> None:
        """An operator who insists is obeyed, whatever the service is waiting for."""

        async def serve(stop: asyncio.Event) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            await stop.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)

        assert 130 == run("test", serve)

    def test_a_crash_is_an_exit_code(self) -> None:
        """Whatever escapes is logged and the process says it failed."""

        async def serve(_: asyncio.Event) -> None:
            raise ValueError("boom")

        assert 1 == run("test", serve)


class TestSupervise:
    async def test_a_failing_part_stops_the_others_and_is_reported(self) -> None:
        """A half-dead process ends, after the others had their ordered stop."""
        stop = asyncio.Event()
        drained = []

        async def works() -> None:
            await stop.wait()
            drained.append("works")

        async def fails() -> None:
            raise ValueError("boom")

        with pytest.raises(ValueError, match="boom"):
            await supervise(stop, {"works": works(), "fails": fails()})

        assert ["works"] == drained

    async def test_a_part_that_ends_early_is_a_failure(self) -> None:
        """A consumer that quietly returned would leave a process that only looks alive."""
        stop = asyncio.Event()

        async def waits() -> None:
            await stop.wait()

        async def ends() -> None:
            return

        with pytest.raises(RuntimeError, match="part ends"):
            await supervise(stop, {"waits": waits(), "ends": ends()})

    async def test_a_stop_ends_all_parts(self) -> None:
        """Asked to stop, every part returns and nothing is raised."""
        stop = asyncio.Event()
        stop.set()

        async def waits() -> None:
            await stop.wait()

        await supervise(stop, {"a": waits(), "b": waits()})


class TestSettings:
    def test_a_wrong_variable_is_named_and_not_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The message tells which variable to mend and keeps its value (it may be a secret) to itself."""
        monkeypatch.setenv("FBC_HTTP__PORT", "hunter2")

        with pytest.raises(SettingsError, match="FBC_HTTP__PORT") as caught:
            load(ServiceSettings)

        assert "hunter2" not in str(caught.value)

    def test_absence_is_safe(self) -> None:
        """Without any variable the defaults hold."""
        assert "dev" == load(ServiceSettings).stage
