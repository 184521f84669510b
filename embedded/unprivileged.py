"""Running PostgreSQL when we are root: it refuses to, so it runs as `nobody`, in folders that user can reach.

The database's own files need an owner other than root and a path that every user may traverse (`--x`). Where the
wanted folder has such a path it is used; under, say, `/root` it cannot be, and nobody's permissions are ours to
change: then a folder under `/var/tmp` named by a hash of the wanted one stands in for it.
"""

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from embedded.errors import EmbeddedError
from embedded.process import Owner

USER = "nobody"
MARKER = "stands-in-for"
WORKPLACE = "server"
STAND_IN = Path("/var/tmp")  # noqa: S108 - world-writable, but what we make there is created exclusively and checked


def unprivileged() -> Owner | None:
    """The user to run PostgreSQL under: None (ourselves) unless we are root."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(USER)
    return Owner(entry.pw_uid, entry.pw_gid)


def traversable(folder: Path) -> bool:
    """Whether every user may pass through all the folders above and including `folder`."""
    return all(one.stat().st_mode & stat.S_IXOTH for one in (folder, *folder.parents))


def reachable_folder(wanted: Path, owner: Owner | None) -> Path:
    """A folder `owner` can work in: `wanted` itself if its parents allow it, else its stand-in; not created here."""
    if owner is None:
        return wanted
    parent = wanted.parent
    while not parent.exists():
        parent = parent.parent
    return wanted if traversable(parent) else stand_in(wanted)


def stand_in(wanted: Path) -> Path:
    """Where `wanted` lives if `nobody` cannot reach it: one folder per wanted path, the same in every run."""
    return STAND_IN / f"facebook-connector-{hashlib.sha256(str(wanted).encode()).hexdigest()[:16]}"


def make_workplace(base: Path, wanted: Path, owner: Owner | None) -> Path:
    """Make `base` (ours) and in it the folder the server works in (0700, `owner`'s).

    Args:
        base: From `reachable_folder`.
        wanted: What `base` was chosen for; noted in a stand-in, so that it can be cleared away later.
        owner: Who the server runs as; None for ourselves.

    Returns:
        The folder the server works in.

    Raises:
        EmbeddedError: Something else is in its place, e.g. another user's folder or a link.
    """
    wanted.mkdir(parents=True, exist_ok=True)
    _make(base, os.geteuid(), 0o700 if owner is None else 0o711)
    if base != wanted:
        (base / MARKER).write_text(str(wanted))
    place = base / WORKPLACE
    _make(place, os.geteuid() if owner is None else owner.uid, 0o700)
    return place


def _make(folder: Path, uid: int, mode: int) -> None:
    with suppress(FileExistsError):
        folder.mkdir()
        os.chown(folder, uid, -1)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
        raise EmbeddedError(f"{folder} should be a folder of user {uid} and is not: move it away and start again")
    folder.chmod(mode)


def forget_orphans() -> None:
    """Delete stand-ins whose wanted folder is gone: whoever deleted a state folder did not know of its stand-in.

    One that a server still works in is left alone (its `postmaster.pid` names a living process).
    """
    for folder in STAND_IN.glob("facebook-connector-*"):
        with suppress(OSError, ValueError):
            if folder.lstat().st_uid == os.geteuid() and not folder.is_symlink():
                wanted = Path((folder / MARKER).read_text())
                if not wanted.exists() and not _in_use(folder / WORKPLACE / "data" / "postmaster.pid"):
                    shutil.rmtree(folder)


def _in_use(pid_file: Path) -> bool:
    return pid_file.exists() and Path("/proc", pid_file.read_text().split("\n", 1)[0]).exists()


def reachable_programs(installed: Path, owner: Owner | None) -> Path:
    """The PostgreSQL installation as `owner` can run it: as installed, or a copy if it is closed to them.

    Args:
        installed: The folder with `bin`, `lib` and `share`.
        owner: Who will run it; None for ourselves.

    Returns:
        The folder to run it from. A copy (40 MB) is made once and kept; everybody may read it, only we may write.

    Raises:
        EmbeddedError: Something else is in the copy's place.
    """
    program = installed / "bin" / "postgres"
    if owner is None or (traversable(program.parent) and _open_to_all(program)):
        return installed
    facts = f"{installed}\n{program.stat().st_mtime_ns}"
    copy = STAND_IN / f"facebook-connector-postgres-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"
    if not copy.exists():
        _copy_for_all(installed, copy)
    if copy.lstat().st_uid != os.geteuid() or copy.is_symlink():
        raise EmbeddedError(f"{copy} should be a folder of user {os.geteuid()}: move it away and start again")
    return copy


def _open_to_all(program: Path) -> bool:
    needed = stat.S_IROTH | stat.S_IXOTH
    return program.stat().st_mode & needed == needed


def _copy_for_all(installed: Path, copy: Path) -> None:
    making = Path(tempfile.mkdtemp(dir=copy.parent, prefix=f"{copy.name}."))
    shutil.copytree(installed, making, symlinks=True, dirs_exist_ok=True)
    for path in (making, *making.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)  # whatever we may read or run, others may
    try:
        making.rename(copy)
    except OSError:  # another start made it meanwhile
        shutil.rmtree(making)
