"""Kafka's jars in the cache: complete, verified, or not there at all."""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embedded.errors import JarMismatch, JarsUnavailable
from embedded.jars import LOCK_FILE, JarLock, ensure_jars, recorded
from embedded.jvm import drop_damaged, keep

CONTENT = {"a-1.0.jar": b"first", "b-2.0.jar": b"second"}
LOCK = JarLock(coordinates="g:a:1.0", sha256={name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()})


class Repository:
    """Writes jars as a resolver does, and counts how often it was asked."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.content = content
        self.asked = 0

    def resolve(self, coordinates: str, folder: Path) -> list[Path]:
        """Write every jar into `folder`."""
        assert coordinates == LOCK.coordinates
        self.asked += 1
        folder.mkdir()
        for name, data in self.content.items():
            (folder / name).write_bytes(data)
        return [folder / name for name in self.content]


class TestCache:
    def test_jars_are_fetched_once(self, tmp_path: Path) -> None:
        """The second start asks nobody, and its class path is the same."""
        repository = Repository(CONTENT)
        first = ensure_jars(tmp_path, LOCK, repository.resolve)
        assert first == ensure_jars(tmp_path, LOCK, repository.resolve)
        assert repository.asked == 1
        assert [b"first", b"second"] == [jar.read_bytes() for jar in first]

    def test_two_first_starts_at_once_fetch_once(self, tmp_path: Path) -> None:
        """Whoever comes second waits for the first and finds everything."""
        repository = Repository(CONTENT)
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: ensure_jars(tmp_path, LOCK, repository.resolve), range(4)))
        assert repository.asked == 1
        assert len(set(found)) == 1

    def test_a_failed_fetch_leaves_nothing_behind(self, tmp_path: Path) -> None:
        """After a broken first run the next one starts from nothing, not from half the jars."""

        def broken(_: str, folder: Path) -> list[Path]:
            folder.mkdir()
            (folder / "a-1.0.jar").write_bytes(b"first")
            raise JarsUnavailable("the line was cut")

        with pytest.raises(JarsUnavailable):
            ensure_jars(tmp_path, LOCK, broken)
        assert [LOCK.digest, ".lock"] == [path.name for path in sorted((tmp_path / "kafka").rglob("*"))]


class TestChecksums:
    @pytest.mark.parametrize(
        ("content", "jar"),
        [
            ({**CONTENT, "a-1.0.jar": b"tampered"}, "a-1.0.jar"),
            ({"a-1.0.jar": b"first"}, "b-2.0.jar"),
            ({**CONTENT, "c-3.0.jar": b"uninvited"}, "c-3.0.jar"),
        ],
        ids=["another content", "a missing jar", "an additional jar"],
    )
    def test_what_is_not_recorded_is_not_used(self, tmp_path: Path, content: dict[str, bytes], jar: str) -> None:
        """The error names the jar and what to do, and the cache stays empty."""
        with pytest.raises(JarMismatch, match=re.escape(jar)) as caught:
            ensure_jars(tmp_path, LOCK, Repository(content).resolve)
        assert "Delete" in str(caught.value)
        assert not (tmp_path / "kafka" / LOCK.digest / "jars").exists()

    def test_a_jar_changed_in_the_cache_is_noticed(self, tmp_path: Path) -> None:
        """Every start compares, not only the first."""
        jars = ensure_jars(tmp_path, LOCK, Repository(CONTENT).resolve)
        jars[0].write_bytes(b"changed later")
        with pytest.raises(JarMismatch, match=re.escape("a-1.0.jar")):
            ensure_jars(tmp_path, LOCK, Repository(CONTENT).resolve)

    def test_the_committed_lock_pins_everything_and_names_no_place(self) -> None:
        """46 jars with full checksums, exact versions, no address."""
        lock = recorded()
        assert len(lock.sha256) == 46
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in lock.sha256.values())
        assert "org.apache.kafka:kafka_2.13:4.3.0" in lock.coordinates
        assert "://" not in LOCK_FILE.read_text()


class TestAheadOfTimeCache:
    def test_what_was_kept_whole_stays(self, tmp_path: Path) -> None:
        """An undamaged cache is offered again and again."""
        (tmp_path / "written").write_bytes(b"classes")
        keep(tmp_path / "written", tmp_path / "k.aot")
        drop_damaged(tmp_path / "k.aot")
        assert (tmp_path / "k.aot").read_bytes() == b"classes"

    def test_a_damaged_one_is_dropped(self, tmp_path: Path) -> None:
        """A flipped byte can crash the JVM (observed), so the file goes and is made again."""
        (tmp_path / "written").write_bytes(b"classes")
        keep(tmp_path / "written", tmp_path / "k.aot")
        (tmp_path / "k.aot").write_bytes(b"clasSes")
        drop_damaged(tmp_path / "k.aot")
        assert not (tmp_path / "k.aot").exists()
