"""Which process a recorded pid means: a pid together with the moment that process was born.

Pids are reused. A stack that crashed leaves pids in its state file; signalling a bare pid could end a
stranger's process. So a pid is recorded with its birth, and nothing is signalled unless both still agree.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

POLL_SECONDS = 0.02


class Identity(BaseModel):
    """One process that was running when it was recorded.

    Attributes:
        pid: Its process id.
        born: When it was born, in the platform's own unit (see `birth`): compared, never computed with.
    """

    model_config = ConfigDict(frozen=True)

    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> "Identity":
        """The identity of a process that is running now.

        Raises:
            ProcessLookupError: There is no such process (any more).
        """
        born = birth(pid)
        if born is None:
            raise ProcessLookupError(f"no process {pid}")
        return cls(pid=pid, born=born)

    def alive(self) -> bool:
        """Whether this very process still runs; a zombie, or another process under the same pid, does not count."""
        return birth(self.pid) == self.born

    def send(self, number: signal.Signals) -> None:
        """Signal this process if it is still the recorded one; otherwise do nothing."""
        if self.alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def send_group(self, number: signal.Signals) -> None:
        """Signal the process group this process leads, if it is still the recorded one and leads a group."""
        with suppress(ProcessLookupError):
            if self.alive() and os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, number)


def birth(pid: int) -> str | None:
    """When the process `pid` was born, or None if there is none or it is a zombie.

    On Linux `<boot id>:<clock ticks after boot>`: unlike a wall-clock time it does not move when the clock is
    set, and a pid of before a reboot never matches. Elsewhere the start time that `ps` prints.
    """
    return _birth_from_proc(pid) if Path("/proc/self/stat").exists() else _birth_from_ps(pid)


def _birth_from_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    # Field 2 is the program's name in parentheses and may contain anything: fields are counted after the last ')'.
    fields = stat.rpartition(")")[2].split()
    state, ticks = fields[0], fields[19]
    return None if state in {"Z", "X"} else f"{boot}:{ticks}"


def _birth_from_ps(pid: int) -> str | None:
    command = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
    words = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.split()  # noqa: S603 - a fixed program and a number
    return None if not words or words[0].startswith("Z") else " ".join(words[1:])


def stop_recorded(identity: Identity, number: signal.Signals, grace: float) -> None:
    """End a process that is not our child: `number`, up to `grace` seconds of waiting, then SIGKILL to its group.

    Blocking: it is used by `fbc dev up` and `down`, never inside the supervisor's loop.
    """
    identity.send(number)
    identity.send(signal.SIGCONT)  # a stopped process would sleep through the signal
    if not gone_within(identity, grace):
        identity.send_group(signal.SIGKILL)
        identity.send(signal.SIGKILL)
        gone_within(identity, grace)


def gone_within(identity: Identity, seconds: float) -> bool:
    """Wait until the process is gone, at most `seconds`; whether it is."""
    deadline = time.monotonic() + seconds
    while identity.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
