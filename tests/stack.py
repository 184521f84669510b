"""A whole stack of processes under test: started by `fbc dev up`, asked and steered only as a user would."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from cli.__main__ import build

ENDED = {"delivered", "partly_delivered", "failed", "cancelled"}


@dataclass(frozen=True)
class Finished:
    """A command that ended: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


class Stack:
    """One running stack with its own state folder."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def fbc(self, *arguments: str, timeout: float = 120) -> Finished:
        """Runs `fbc` against this stack and waits for it."""
        environment = {**os.environ, "FBC_HOME": str(self.home), "NO_COLOR": "1", "COLUMNS": "200"}
        ended = subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
        )
        return Finished(ended.returncode, ended.stdout, ended.stderr)

    def said(self, *arguments: str) -> Any:
        """What `fbc … -o json` answers, in this process: for the many of which none is what is tested."""
        home = {"FBC_HOME": str(self.home)}
        ended = CliRunner().invoke(build(arguments[0]), [*arguments, "-o", "json"], env=home, catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    def seed(self, profile: str, company: int = 1, account: str | None = None) -> Any:
        """A connected profile."""
        chosen = ["--ad-account", account] if account else []
        ended = self.fbc("dev", "seed", "--profile", profile, "--company", str(company), *chosen, "-o", "json")
        assert ended.code == 0, ended.err
        return ended.json

    def publish(self, *arguments: str, wait: float = 60) -> Finished:
        """`fbc deliveries publish … -o json --wait`."""
        return self.fbc("deliveries", "publish", *arguments, "--wait", str(wait), "-o", "json", timeout=wait + 60)

    def show(self, revision: int) -> Any:
        """`fbc deliveries show … -o json`."""
        ended = self.fbc("deliveries", "show", str(revision), "-o", "json")
        assert ended.code == 0, ended.err
        return ended.json

    def parts(self) -> dict[str, dict[str, Any]]:
        """The parts of `fbc dev status` by name."""
        return {part["name"]: part for part in self.fbc("dev", "status", "-o", "json").json["parts"]}

    def url(self, part: str) -> str:
        """Where *part* is reached over HTTP."""
        return str(self.parts()[part]["url"])

    def control(self, method: str, path: str, body: object = None) -> Any:
        """The emulator's control side."""
        return http(method, self.parts()["emulator"]["control_url"] + path, body)[1]

    def members(self, audience: str) -> int:
        """How many members the emulator holds."""
        return int(self.control("GET", f"/audiences/{audience}/count")["count"])

    def ended(self, revision: int, within: float = 60) -> Any:
        """The delivery once it ended.

        Raises:
            TimeoutError: It did not end in time; the text shows where it is.
        """
        return self.until(revision, lambda delivery: delivery["state"] in ENDED, within)

    def until(self, revision: int, condition: Any, within: float = 60) -> Any:
        """The delivery as soon as *condition* holds of it."""
        url = f"{self.url('ingest')}/v1/deliveries/{revision}"
        deadline = time.monotonic() + within
        delivery: Any = None
        while time.monotonic() < deadline:
            try:
                status, delivery = http("GET", url)
            except OSError:  # a service that is being killed on purpose
                status = 0
            if status == 200 and condition(delivery):
                return delivery
            time.sleep(0.02)
        raise TimeoutError(f"delivery {revision} after {within} s: {delivery}\n{self.logs()}")

    def logs(self) -> str:
        """The last lines of each log: what a failed test must show."""
        tails = []
        for log in sorted((self.home / "logs").glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-15:]
            tails.append(f"--- {log.name}\n" + "\n".join(lines))
        return "\n".join(tails)


def http(method: str, url: str, body: object = None) -> tuple[int, Any]:
    """Status and JSON of one plain request; errors are answers too."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})  # noqa: S310 -- loopback
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 -- loopback
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[Stack]:
    """A stack that is up inside the block and gone after it, whatever happens."""
    stack = Stack(home)
    up = stack.fbc("dev", "up", *arguments, timeout=300)
    try:
        assert up.code == 0, f"{up.out}\n{up.err}\n{stack.logs()}"
        yield stack
    finally:
        stack.fbc("dev", "down", "--wipe", timeout=60)
