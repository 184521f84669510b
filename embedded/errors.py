"""Everything that can go wrong here, named by what the reader of the message can do about it.

EmbeddedError            the message says what, where and what to do: show it and stop
├── PartFailed           a part did not start or did not become ready; carries the tail of its log
├── JarsUnavailable      Kafka's jars could not be fetched
├── JarMismatch          a jar is not the one whose checksum is recorded
├── WrongRequest         the caller asked for something that cannot be (an unknown part, a bad count)
└── StackUnreachable     the supervisor did not answer, or not in time
"""

from pathlib import Path

TAIL_LINES = 20


class EmbeddedError(Exception):
    """An embedded part or the supervisor could not do what was asked; the message is for a person."""


class JarsUnavailable(EmbeddedError):
    """The jars of Kafka are not in the cache and could not be fetched."""


class JarMismatch(EmbeddedError):
    """A jar differs from the checksum recorded in `kafka-jars.lock.json`."""


class WrongRequest(EmbeddedError):
    """The request names a part that does not exist or a count out of bounds."""


class StackUnreachable(EmbeddedError):
    """The supervisor did not answer on its control port within the time-out."""


class PartFailed(EmbeddedError):
    """A part did not start, or did not become ready.

    Attributes:
        part: Name of the part, e.g. `kafka-1`.
        reason: One clause, e.g. `ended with code 1 before it was ready`.
        log: Its log file.
        tail: The last lines of that log, at most `TAIL_LINES`.
        advice: What to do next.
    """

    def __init__(self, part: str, reason: str, log: Path, advice: str) -> None:
        self.part = part
        self.reason = reason
        self.log = log
        self.tail = tail(log)
        self.advice = advice
        super().__init__("\n".join([f"{part} {reason}", *self.tail, f"log: {log}", f"what to do: {advice}"]))


def tail(log: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last `lines` lines of a log file, reading at most its last 64 kB; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65_536))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []
