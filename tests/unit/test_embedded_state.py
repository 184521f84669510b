"""The state file: what `fbc` and a later `up` learn of a running stack."""

import os
import stat
from pathlib import Path

import pytest

from embedded.identity import Identity
from embedded.state import (
    FILE,
    ControlAddress,
    PartReport,
    PartState,
    Phase,
    StackState,
    cli_environment,
    forget,
    home,
    read,
    write,
)

NOBODY = Identity(pid=2**22 + 1, born="never")


def state_of(supervisor: Identity, *parts: PartReport) -> StackState:
    """A ready stack."""
    control = ControlAddress(host="127.0.0.1", port=1, secret="s")
    return StackState(
        phase=Phase.READY, supervisor=supervisor, control=control, parts=parts, cli_env={"FBC_INGEST__URL": "u"}
    )


class TestFile:
    def test_what_was_written_is_read(self, tmp_path: Path) -> None:
        """Nothing is lost between the supervisor and whoever reads."""
        part = PartReport(name="moto", state=PartState.READY, identity=NOBODY, url="http://h", log=tmp_path / "l")
        written = state_of(NOBODY, part)
        write(tmp_path, written)
        assert written == read(tmp_path)

    def test_only_its_owner_may_read_it(self, tmp_path: Path) -> None:
        """It holds passwords and the control secret: mode 0600 from its first moment, also when replaced."""
        usual = os.umask(0)
        try:
            for _ in range(2):
                write(tmp_path, state_of(NOBODY))
                assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
        finally:
            os.umask(usual)
        assert [FILE] == [path.name for path in tmp_path.iterdir()]

    def test_no_file_means_no_stack(self, tmp_path: Path) -> None:
        """A folder without the file reads as nothing, also after it was forgotten twice."""
        assert read(tmp_path) is None
        write(tmp_path, state_of(NOBODY))
        forget(tmp_path)
        forget(tmp_path)
        assert read(tmp_path) is None


class TestPublicShape:
    def test_a_part_shows_its_address_only_if_it_has_one(self) -> None:
        """`fbc dev status -o json` leaves `url` and `control_url` out instead of printing null."""
        shown = PartReport(name="kafka-1", log=Path("/l")).public()
        assert {"name": "kafka-1", "state": "waiting", "pid": None, "log": "/l", "restarts": 0} == shown

    def test_the_emulator_shows_both_sides(self) -> None:
        """`url` is the Graph side, `control_url` the other."""
        shown = PartReport(name="emulator", url="http://g", control_url="http://c", log=Path("/l")).public()
        assert ("http://g", "http://c") == (shown["url"], shown["control_url"])


class TestCliEnvironment:
    def test_a_running_stack_lends_its_variables(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`fbc` finds the stack of the state folder it is pointed to."""
        monkeypatch.setenv("FBC_HOME", str(tmp_path))
        write(tmp_path, state_of(Identity.of(os.getpid())))
        assert tmp_path == home()
        assert {"FBC_INGEST__URL": "u"} == cli_environment()

    def test_a_dead_supervisor_lends_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Addresses of a crashed stack would send commands to whoever has the ports now."""
        monkeypatch.setenv("FBC_HOME", str(tmp_path))
        write(tmp_path, state_of(NOBODY))
        assert {} == cli_environment()


class TestIdentity:
    def test_a_process_is_itself(self) -> None:
        """The same pid asked twice has the same birth."""
        assert Identity.of(os.getpid()).alive()

    def test_a_reused_pid_is_somebody_else(self) -> None:
        """A pid that lives under another birth is not the recorded process."""
        assert not Identity(pid=os.getpid(), born="another moment").alive()

    def test_no_process_has_no_identity(self) -> None:
        """Asking for a pid that does not exist is an error, not an empty answer."""
        with pytest.raises(ProcessLookupError):
            Identity.of(NOBODY.pid)
