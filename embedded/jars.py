"""Apache Kafka's jars: fetched once into a cache, each compared with the checksum recorded beside this file.

`kafka-jars.lock.json` pins the coordinates and the SHA-256 of every jar. It holds no address: where jars come
from is the user's own repository setting (jgo reads it), what they are is ours.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from embedded.errors import JarMismatch, JarsUnavailable

LOCK_FILE = Path(__file__).with_name("kafka-jars.lock.json")
TRIES = 3
PAUSE_SECONDS = 2.0
RESOLVE_SECONDS = 240.0  # one try: 46 jars, 43 MB; 15 s on a usual line
WAIT_FOR_OTHER_SECONDS = TRIES * RESOLVE_SECONDS

# jgo runs in a process of its own: it can be timed out, and its imports stay out of ours.
RESOLVER = """
import json, sys
from pathlib import Path
import jgo
found = jgo.build(sys.argv[1], cache_dir=Path(sys.argv[2]))
print(json.dumps([str(jar) for jar in (*found.class_path_jars, *found.module_path_jars)]))
"""


class JarLock(BaseModel):
    """What `kafka-jars.lock.json` says.

    Attributes:
        coordinates: Maven coordinates, joined by `+`, versions pinned.
        sha256: File name of each jar to its checksum, lower-case hex.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    coordinates: str
    sha256: dict[str, str]

    @property
    def digest(self) -> str:
        """Sixteen hex digits that name this exact set of jars; the cache is keyed by it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def recorded(path: Path = LOCK_FILE) -> JarLock:
    """The lock that is committed with the code."""
    return JarLock.model_validate_json(path.read_bytes())


def cache_home() -> Path:
    """Where downloads are kept between stacks: `FBC_CACHE`, else `~/.cache/facebook-connector`."""
    return Path(os.environ.get("FBC_CACHE") or Path.home() / ".cache" / "facebook-connector").absolute()


def cached(cache: Path, lock: JarLock) -> bool:
    """Whether the jars have been fetched before: a start needs no network then."""
    return (cache / "kafka" / lock.digest / "jars").is_dir()


Resolve = Callable[[str, Path], list[Path]]


def ensure_jars(cache: Path, lock: JarLock, resolve: Resolve | None = None) -> tuple[Path, ...]:
    """The verified jars, fetched first if the cache has none. Blocking; no network when they are cached.

    Args:
        cache: The cache folder (`cache_home()`).
        lock: The checksums to hold them to.
        resolve: Fetches jars for coordinates into a folder; jgo by default.

    Returns:
        Paths in the order of the class path, the same in every run: Java's ahead-of-time cache needs that.

    Raises:
        JarsUnavailable: They could not be fetched.
        JarMismatch: One is missing, additional or different.
    """
    home = cache / "kafka" / lock.digest
    if not cached(cache, lock):
        home.mkdir(parents=True, exist_ok=True)
        with exclusive(home / ".lock", WAIT_FOR_OTHER_SECONDS):
            if not cached(cache, lock):  # another process may have been faster
                _install(home, lock, resolve or resolve_with_jgo)
    verify(home / "jars", lock)
    return tuple(home / "jars" / name for name in sorted(lock.sha256))


def _install(home: Path, lock: JarLock, resolve: Resolve) -> None:
    """Fetch into a folder beside the final one, verify, and rename: a reader sees all jars or none."""
    with tempfile.TemporaryDirectory(dir=home, prefix=".fetching-") as staging:
        jars = Path(staging) / "jars"
        jars.mkdir()
        for jar in resolve(lock.coordinates, Path(staging) / "jgo"):
            shutil.copyfile(jar, jars / jar.name)  # a copy: a link would share a damage of the Maven repository
        verify(jars, lock)
        jars.replace(home / "jars")


def verify(folder: Path, lock: JarLock) -> None:
    """Compare every jar in a folder with the lock.

    Raises:
        JarMismatch: Naming the jar, both checksums and what to do.
    """
    found = {path.name for path in folder.iterdir()}
    for name in sorted(lock.sha256.keys() | found):
        expected = lock.sha256.get(name, "no such jar")
        actual = sha256(folder / name) if name in found else "missing"
        if actual != expected:
            raise JarMismatch(
                f"{name} is not the recorded jar: recorded {expected}, found {actual} in {folder}. "
                f"Delete {folder} and the jar's folder in your Maven repository (~/.m2/repository) and start again; "
                f"if it happens again, your repository serves another file than the one {LOCK_FILE.name} pins."
            )


def sha256(path: Path) -> str:
    """The SHA-256 of a file, lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resolve_with_jgo(coordinates: str, folder: Path, *, pause: float = PAUSE_SECONDS) -> list[Path]:
    """Let jgo fetch the jars and what they depend on, at most `TRIES` times.

    Raises:
        JarsUnavailable: With the last words of the last try.
    """
    words = ""
    for number in range(TRIES):
        if number:
            time.sleep(pause * number)
        try:
            return _resolve_once(coordinates, folder)
        except subprocess.TimeoutExpired:
            words = f"no answer within {RESOLVE_SECONDS:g} s"
        except subprocess.CalledProcessError as error:
            words = "\n".join(str(error.stderr).strip().splitlines()[-3:])
    raise JarsUnavailable(
        f"the jars of {coordinates} are not in the cache and could not be fetched in {TRIES} tries:\n{words}\n"
        "The first start needs a Maven repository: check the network, or name your mirror in ~/.config/jgo.conf "
        "([repositories]), then start again. Later starts need no network."
    )


def _resolve_once(coordinates: str, folder: Path) -> list[Path]:
    done = subprocess.run(  # noqa: S603 - our own program, no shell
        [sys.executable, "-c", RESOLVER, coordinates, str(folder)],
        check=True,
        capture_output=True,
        text=True,
        timeout=RESOLVE_SECONDS,
    )
    return [Path(jar) for jar in json.loads(done.stdout.splitlines()[-1])]


@contextmanager
def exclusive(path: Path, seconds: float) -> Iterator[None]:
    """Hold an advisory lock on a file, waiting for its holder at most `seconds`; freed even by a crash.

    Raises:
        TimeoutError: Somebody else held it all the time.
    """
    deadline = time.monotonic() + seconds
    with path.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path} is held by another process for more than {seconds:g} s") from None
                time.sleep(0.1)
        yield
