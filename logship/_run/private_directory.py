"""The directory that a `run` makes for itself, and those that earlier ones have left.

It holds the spool, the stop file, the pages of numbers, and a note of the endpoints. Its lock shows
that its `run` lives. One that is free and still there belongs to a `run` that was killed, or that
could not ship everything. The next `run` with the same endpoints ships what is on its spool.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from logship._metrics.outlet import PAGES
from logship._process import stopfile
from logship._run.death_watcher import is_free
from logship._settings import Endpoint
from logship._settings.fields import NotAllowed, Text
from logship._spool.directories import LOCK, process_directories, sweep
from logship._spool.files import OPEN_DIRECTORY, READ_FILE, closing
from logship._spool.quarantine import QUARANTINE
from logship._spool.volumes import SUPERVISED

_PREFIX = "logship-run-"
_HIDDEN_PREFIX = "hidden-"
_ENDPOINTS = "endpoints"
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the name in it cannot be guessed
_OPEN_TO_THOSE_WHO_KNOW_IT = 0o711
OPEN_AS_TMP = 0o1777


class PrivateDirectory:
    """A directory of this process alone, with the spool, the stop file and pages of numbers in it.

    It owns the descriptor of its lock.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.spool = path / "spool"
        self.metrics = path / "metrics"
        self.stop_file = path / "stop"
        self._lock = lock

    @classmethod
    def make(cls, endpoints: Iterable[Endpoint]) -> Self:
        """Make a new one, with a note of where its records are to go.

        Clients that belong to another user than we do must reach it too, if we are root. Then all
        users may enter it, but not list it; in the spool, as in /tmp, each user owns only their
        own directory.

        Raises:
            OSError: There is no place where a directory could be made.
        """
        path = _made()
        try:
            return cls._filled(path, endpoints)
        except OSError:
            shutil.rmtree(path, ignore_errors=True)  # without a lock, no later `run` removes it
            raise

    @classmethod
    def _filled(cls, path: Path, endpoints: Iterable[Endpoint]) -> Self:
        note = path / _ENDPOINTS
        note.touch(0o600)
        note.write_text(_text(endpoints), encoding="utf-8")
        directory = cls(path, _new_lock(path))
        _keep_from_cleaners(path)
        directory.spool.mkdir(mode=0o700)
        directory.metrics.mkdir(mode=0o700)
        stopfile.prepare(directory.stop_file)
        if os.geteuid() == 0:
            path.chmod(_OPEN_TO_THOSE_WHO_KNOW_IT)
            directory.spool.chmod(OPEN_AS_TMP)
            directory.metrics.chmod(OPEN_AS_TMP)
        return directory

    @classmethod
    def take_over_abandoned(cls, endpoints: Iterable[Endpoint]) -> Iterator[Self]:
        """Yield those that earlier ones of this user have left, each with its lock taken.

        Those with records for other endpoints are left alone.
        """
        for root in dict.fromkeys(_roots()):
            with contextlib.suppress(OSError):
                for path in sorted(Path(root).glob(f"{_PREFIX}*")):
                    lock = _taken_lock(path)
                    if lock is None:
                        continue
                    directory = cls(path, lock)
                    if directory.is_for(endpoints) or not directory.has_records():
                        yield directory
                    else:
                        os.close(lock)

    def keep_secret(self, text: str) -> Path:
        """Write a secret into a file for the command's processes, and return its path.

        Where we are root they may belong to another user, so all users may read the file. But only
        they are told its name, no other user can list the directory, and the name is random.

        Raises:
            OSError: It cannot be written.
        """
        path = self.path / f"{_HIDDEN_PREFIX}{os.urandom(16).hex()}"
        with path.open("x", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644 if os.geteuid() == 0 else 0o600)
            file.write(text)
        return path

    def is_for(self, endpoints: Iterable[Endpoint]) -> bool:
        """Tell whether its records were to go there; one of an older version does not say."""
        try:
            return (self.path / _ENDPOINTS).read_text(encoding="utf-8") == _text(endpoints)
        except FileNotFoundError:
            return True
        except (OSError, UnicodeDecodeError):
            return False

    def has_records(self) -> bool:
        """Tell whether something is left on the spool; a doubt is a yes."""
        return self.has_processes() or os.path.lexists(self.spool / QUARANTINE)

    def has_processes(self) -> bool:
        """Tell whether something on the spool can be shipped; a doubt is a yes."""
        try:
            return bool(process_directories(self.spool))
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def _has_living(self) -> bool:
        """Tell whether a process with a directory on the spool lives; a doubt is a yes."""
        try:
            names = process_directories(self.spool)
            return not all(is_free(self.spool / each / LOCK) for each in names)
        except OSError:
            return True

    def remove(self) -> bool:
        """Remove it, unless something is left on the spool; tell whether it is gone.

        Secrets stay for a process that lives: those that it starts must be able to read them.
        """
        secrets = () if self._has_living() else self.path.glob(f"{_HIDDEN_PREFIX}*")
        with contextlib.suppress(OSError):
            for path in (self.stop_file, *secrets):
                path.unlink(missing_ok=True)
        if not self.has_records() and self._remove_spool():
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        return not self.path.exists()

    def _remove_spool(self) -> bool:
        """Remove the empty spool; return whether it is gone.

        A process that was left alone may begin to use the spool at this moment. It then keeps it.
        """
        shutil.rmtree(self.spool / PAGES, ignore_errors=True)
        with contextlib.suppress(OSError):
            with closing(os.open(self.spool, OPEN_DIRECTORY)) as spool:
                sweep(spool)
            self.spool.rmdir()
        return not os.path.lexists(self.spool)


def private_directory(endpoints: Iterable[Endpoint]) -> tuple[PrivateDirectory | None, str]:
    """Return a new directory, or None and what a person should be told."""
    try:
        return PrivateDirectory.make(endpoints), ""
    except OSError as error:
        return None, (
            f"no directory for temporary files can be made ({error}); logship clients inside "
            "the command have no spool, and if they are killed, records that they have not "
            "shipped are lost; set TMPDIR to a directory that can be written"
        )


def _text(endpoints: Iterable[Endpoint]) -> str:
    return ",".join(map(str, endpoints))


def _roots() -> Iterator[str]:
    """Yield the directories for temporary files; a read-only container may have none but one."""
    with contextlib.suppress(OSError):
        yield tempfile.gettempdir()
    yield _SHARED_MEMORY


def _made() -> Path:
    """Make a directory for temporary files, in shared memory where the usual place will not do."""
    try:
        return _made_in(tempfile.gettempdir())
    except OSError:  # as on a read-only filesystem
        return _made_in(_SHARED_MEMORY)


def _made_in(root: str) -> Path:
    """Make a directory of a path that may be a setting: clients are told theirs by settings.

    Raises:
        OSError: It cannot be made.
    """
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root)).resolve()  # as /proc shows it
    try:
        Text().check(str(path / "metrics"))  # the longest path that they get
    except NotAllowed as error:
        path.rmdir()
        raise OSError(f"{root!r} cannot be a setting: give {error.allowed}") from None
    return path


def _new_lock(path: Path) -> int:
    """Make the lock and hold it, before it has the name under which others look for it."""
    begun = path / f".{SUPERVISED}.new"
    descriptor = os.open(begun, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    begun.rename(path / SUPERVISED)
    return descriptor


def _keep_from_cleaners(path: Path) -> None:
    """Lock a directory until we end: systemd-tmpfiles then removes nothing in it, however old."""
    with contextlib.suppress(OSError):  # no descriptor, or a filesystem without locks
        fcntl.flock(os.open(path, OPEN_DIRECTORY), fcntl.LOCK_SH)


def _taken_lock(path: Path) -> int | None:
    """Lock a directory of ours, or return None where its `run` lives or it is not ours."""
    with contextlib.suppress(OSError):
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return None
        name = path / SUPERVISED
        descriptor = os.open(name, READ_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), name.lstat()):  # else it was removed
                return descriptor
        except OSError:
            pass
        os.close(descriptor)
    return None
