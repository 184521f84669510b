"""A whole stack as processes for a benchmark: `fbc dev up` in a folder of its own, gone after the block."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

UP_SECONDS = 300.0
ASK_SECONDS = 30.0


@dataclass(frozen=True)
class Stack:
    """A stack that is up; *environment* is what its processes were started with."""

    environment: Mapping[str, str]

    def fbc(self, *arguments: str, timeout: float = 120.0) -> str:
        """What `fbc` printed.

        Raises:
            RuntimeError: It ended with another code than 0; the text is what it said.
        """
        done = subprocess.run(  # noqa: S603 -- our own command
            [sys.executable, "-m", "cli", *arguments],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if done.returncode:
            raise RuntimeError(f"fbc {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2_000:]}")
        return done.stdout

    def asked(self, *arguments: str, timeout: float = 120.0) -> Any:
        """What `fbc … -o json` answered."""
        return json.loads(self.fbc(*arguments, "-o", "json", timeout=timeout))

    def parts(self) -> dict[str, dict[str, Any]]:
        """The parts by name."""
        return {part["name"]: part for part in self.asked("dev", "status")["parts"]}

    def emulator(self, method: str, path: str, body: object = None) -> Any:
        """The emulator's control side."""
        data = None if body is None else json.dumps(body).encode()
        url = self.parts()["emulator"]["control_url"] + path
        headers = {"Content-Type": "application/json"}
        request = Request(url, data=data, method=method, headers=headers)  # noqa: S310 -- loopback
        with urlopen(request, timeout=ASK_SECONDS) as answer:  # noqa: S310 -- loopback
            return json.loads(answer.read() or b"null")


@contextmanager
def running(folder: Path, *options: str, **variables: str) -> Iterator[Stack]:
    """Up inside the block. *variables* are tunables such as `FBC_UPLOAD__CONCURRENCY`."""
    stack = Stack({**os.environ, **variables, "FBC_HOME": str(folder), "NO_COLOR": "1", "COLUMNS": "200"})
    try:
        stack.fbc("dev", "up", *options, timeout=UP_SECONDS)
        yield stack
    finally:
        stack.fbc("dev", "down", "--wipe", timeout=UP_SECONDS)
