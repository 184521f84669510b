"""All parts of one stack: what they are called, how they run, what each waits for. Read `StackPlan.parts` first."""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from embedded.credentials import ensure_credentials
from embedded.environment import Addresses, Application, Environments, Process
from embedded.http_probe import answers, fetch_json
from embedded.kafka import KafkaPlan
from embedded.objects import MotoPlan
from embedded.options import SCALABLE, SERVICES, Options, Service
from embedded.part import Part
from embedded.ports import HOST, free_ports
from embedded.postgres import PostgresPlan
from embedded.process import Command

# Longer than a service's own drain deadline (25 s): killed earlier, it would leave calls without their outcome.
SERVICE_GRACE_SECONDS = 30.0
MODULES: Mapping[Service, str] = {
    "auth": "services.auth",
    "ingest": "services.ingest",
    "progress": "services.ingest.progress",
    "uploader": "services.uploader",
}


@dataclass(frozen=True, slots=True)
class Declared:
    """A part in its stack.

    Attributes:
        part: What runs.
        after: Names of parts and steps that must be ready or done before its first start.
        follows: Names of parts whose restart makes its own necessary.
        borrowed: Whether it is infrastructure, stopped after the services.
    """

    part: Part
    after: frozenset[str] = frozenset()
    follows: frozenset[str] = frozenset()
    borrowed: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A command of ours that runs to completion before the services start.

    Attributes:
        name: Unique, also the name of its log.
        command: How to run it; asked when what it waits for is ready.
        after: What must be ready or done before it.
    """

    name: str
    command: Callable[[], Command]
    after: frozenset[str]


class StackPlan:
    """The plan of one stack. Ports are drawn and secrets made when it is built.

    Args:
        folder: The state folder; exists (`make_home`).
        options: What was asked for.
        caller: The environment `fbc dev up` was called in.
    """

    def __init__(self, folder: Path, options: Options, caller: Mapping[str, str]) -> None:
        self._options = options.checked()
        self._folder = folder
        self._caller = caller
        self._credentials = ensure_credentials(folder / "secrets")
        self._application: Application | None = None
        self._kafka = KafkaPlan(folder / "kafka", options.nodes) if options.starts("kafka") else None
        self._postgres = PostgresPlan(folder / "postgres") if options.starts("postgres") else None
        self._moto = MotoPlan(folder) if options.starts("moto") else None
        ports = iter(free_ports(2 + len(SERVICES)))
        self._emulator = (next(ports), next(ports)) if options.starts("emulator") else None
        self._ports = {name: next(ports) for name in SERVICES if options.starts(name) and name != SCALABLE}

    @property
    def parts(self) -> tuple[Declared, ...]:
        """Everything that keeps running, infrastructure first."""
        return (*self._borrowed(), *self._single_services(), *map(self.uploader, range(1, self._uploaders() + 1)))

    @property
    def steps(self) -> tuple[Step, ...]:
        """What has to be done before the services start; nothing if none is started."""
        if not any(self._options.starts(name) for name in SERVICES):
            return ()
        steps: list[Step] = []
        if self._has_database():
            steps.append(self._step("db-ensure", "database", {"postgres"}))
            steps.append(self._step("db-upgrade", "database", {"db-ensure"}))
        if self._options.kafka or self._kafka:
            steps.append(self._step("topics-ensure", "cli", self._kafka_names()))
        return tuple(steps)

    @property
    def scales(self) -> bool:
        """Whether processes of the uploader may be added."""
        return self._options.starts(SCALABLE)

    @property
    def needs_training(self) -> bool:
        """Whether the broker was started without an ahead-of-time cache that would help."""
        return self._kafka is not None and self._kafka.needs_training

    def uploader(self, number: int) -> Declared:
        """One process of the uploader, `uploader-1` and so on; each call draws it a port of its own."""
        part = self._service_part(f"{SCALABLE}-{number}", SCALABLE, free_ports(1)[0])
        return Declared(part, after=frozenset({"topics-ensure"}))

    def cli_env(self) -> dict[str, str]:
        """What `fbc` needs to work on this stack; ask when everything is ready."""
        return self._environments().settings("cli")

    def _uploaders(self) -> int:
        return self._options.uploaders if self._options.starts(SCALABLE) else 0

    def _has_database(self) -> bool:
        return self._postgres is not None or self._options.postgres is not None

    def _kafka_names(self) -> set[str]:
        return set() if self._kafka is None else {part.name for part in self._kafka.parts()}

    def _borrowed(self) -> Iterable[Declared]:
        if self._kafka is not None:
            yield from (Declared(part, borrowed=True) for part in self._kafka.parts())
        if self._postgres is not None:
            yield Declared(self._postgres.part(), borrowed=True)
        if self._moto is not None:
            yield Declared(self._moto.part(), borrowed=True)
        if self._emulator is not None:
            yield Declared(self._emulator_part(*self._emulator), borrowed=True)

    def _single_services(self) -> Iterable[Declared]:
        needs = frozenset({"db-upgrade", "topics-ensure"})
        for name, port in self._ports.items():
            part = self._service_part(name, name, port)
            # auth holds the emulator's app secret, which a new emulator draws anew.
            follows = frozenset({"emulator"}) if name == "auth" else frozenset[str]()
            yield Declared(part, after=needs | follows, follows=follows)

    def _step(self, name: str, process: Process, after: set[str]) -> Step:
        """`db-ensure` is `fbc db ensure`, and so on."""
        argv = (sys.executable, "-m", "cli", *name.split("-"))
        return Step(
            name=name,
            command=lambda: Command(argv, environment=self._environments().of(process, self._caller)),
            after=frozenset(after),
        )

    def _emulator_part(self, port: int, control_port: int) -> Part:
        graph, control = f"http://{HOST}:{port}", f"http://{HOST}:{control_port}"
        ports = ("--port", str(port), "--control-port", str(control_port))
        argv = (sys.executable, "-m", "emulator", *ports, "--keep", self._options.emulator_keep)
        return Part(
            name="emulator",
            command=lambda: Command(argv, environment=dict(self._caller)),
            probe=partial(self._learn_application, f"{control}/seed"),
            url=graph,
            control_url=control,
        )

    async def _learn_application(self, seed_url: str) -> bool:
        seed = await fetch_json(seed_url)
        self._application = Application(app_id=str(seed["app_id"]), app_secret=str(seed["app_secret"]))
        return True

    def _service_part(self, name: str, kind: Service, port: int) -> Part:
        url = f"http://{HOST}:{port}"
        return Part(
            name=name,
            command=partial(self._service_command, kind, port),
            probe=partial(answers, f"{url}/health/ready"),
            url=url,
        )

    def _service_command(self, kind: Service, port: int) -> Command:
        environment = self._environments().of(kind, self._caller, port)
        argv = (sys.executable, "-m", MODULES[kind])
        return Command(argv, environment=environment, grace=SERVICE_GRACE_SECONDS)

    def _environments(self) -> Environments:
        return Environments(self._addresses(), self._credentials, self._application)

    def _addresses(self) -> Addresses:
        graph, control = (f"http://{HOST}:{port}" for port in self._emulator) if self._emulator else (None, None)
        return Addresses(
            kafka=self._kafka.bootstrap if self._kafka else self._options.kafka,
            replication=len(self._kafka.addresses) if self._kafka else None,
            admin_dsn=self._postgres.dsn if self._postgres else self._options.postgres,
            s3_url=self._moto.url if self._moto else None,
            graph_url=graph,
            graph_control_url=control,
            auth_url=self._service_url("auth"),
            ingest_url=self._service_url("ingest"),
            objects=self._folder / "objects",
        )

    def _service_url(self, name: str) -> str | None:
        return f"http://{HOST}:{self._ports[name]}" if name in self._ports else None
