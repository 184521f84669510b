"""What `fbc dev up` can be asked for, and the state folder. Light: `fbc` imports it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from embedded.control import MOST_PROCESSES
from embedded.errors import WrongRequest
from embedded.unprivileged import unprivileged

BORROWED = ("kafka", "postgres", "moto", "emulator")
Service = Literal["auth", "ingest", "progress", "uploader"]
SERVICES: tuple[Service, ...] = ("auth", "ingest", "progress", "uploader")
SCALABLE: Service = "uploader"

Nodes = Literal[1, 3]
Keep = Literal["counts", "digests", "rows"]


class Options(BaseModel):
    """What `fbc dev up` was asked for.

    Attributes:
        only: Names out of `BORROWED` and `SERVICES`; everything by default.
        nodes: Kafka nodes.
        uploaders: Processes of the uploader.
        kafka: `host:port,…` of a broker to use instead of starting one.
        postgres: URL of a server to use instead of starting one, as a role that may make roles and schemas.
        emulator_keep: What the emulator keeps of each member.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    only: tuple[str, ...] = (*BORROWED, *SERVICES)
    nodes: Nodes = 1
    uploaders: Annotated[int, Field(ge=0, le=MOST_PROCESSES)] = 1
    kafka: str | None = None
    postgres: str | None = None
    emulator_keep: Keep = "digests"

    def starts(self, name: str) -> bool:
        """Whether a part of this kind is started here."""
        external = {"kafka": self.kafka, "postgres": self.postgres}.get(name)
        return name in self.only and external is None

    def checked(self) -> "Options":
        """These options, if every name in `only` is known.

        Raises:
            WrongRequest: Naming the unknown ones and all known ones.
        """
        unknown = set(self.only) - {*BORROWED, *SERVICES}
        if unknown:
            known = ", ".join((*BORROWED, *SERVICES))
            raise WrongRequest(f"no part is called {', '.join(sorted(unknown))}: the parts are {known}")
        return self


def make_home(folder: Path) -> None:
    """Make the state folder and what is in it, closed to everybody else.

    Mode 0700. As root 0711: PostgreSQL runs as another user then and has to pass through; it still cannot list
    the folder, and what lies in it is closed by its own modes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700 if unprivileged() is None else 0o711)
    for name in ("logs", "kafka", "objects", "secrets"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
