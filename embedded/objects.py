"""S3, KMS and SSM on one machine: a moto server as one child process.

    async with Moto(tmp_path) as moto:
        client = session.create_client("s3", endpoint_url=moto.url, region_name=REGION, ...)

moto keeps everything in memory: a restart comes back at the same port with an empty bucket. What must outlive a
restart belongs in the local folder store.
"""

import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from embedded.http_probe import answers
from embedded.part import Part, launch
from embedded.ports import HOST, free_ports
from embedded.process import Child, Command

BUCKET = "fbc-files"
REGION = "eu-west-1"
STOP_SECONDS = 5.0


class MotoPlan:
    """One server, its port drawn once and kept.

    Args:
        folder: Working folder of the process; it keeps nothing in it.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_ports(1)[0]
        self._folder = folder

    @property
    def url(self) -> str:
        """The endpoint of all its services."""
        return f"http://{HOST}:{self.port}"

    def part(self) -> Part:
        """The server as a part named `moto`; ready means that the bucket exists."""
        return Part(name="moto", command=self._command, probe=self._serves, url=self.url)

    def _command(self) -> Command:
        argv = (sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self.port))
        return Command(argv, folder=self._folder, grace=STOP_SECONDS)

    async def _serves(self) -> bool:
        """Make the bucket with one plain PUT: S3 makes a bucket from its name alone."""
        return await answers(f"{self.url}/{BUCKET}", method="PUT")


class Moto:
    """A server for a test or a script: up inside `async with`, gone after it.

    Args:
        folder: Holds the log (`<folder>/logs/moto.log`).

    Attributes:
        url: The endpoint; the bucket `BUCKET` exists; any credentials are accepted.
    """

    def __init__(self, folder: Path) -> None:
        plan = MotoPlan(folder)
        self._part = plan.part()
        self._log = folder.absolute() / "logs" / "moto.log"
        self._child: Child | None = None
        self.url = plan.url

    async def __aenter__(self) -> Self:
        self._child = await launch(self._part, self._log)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            await self._child.stop()
