"""The lock of a run directory: while a process lives that works in it, no other one does.

The lock is one of the kernel (`flock`), which ends with its process however that ends; on NFS the server's lock daemon
keeps it. Where a file system has no locks, a file with the owner's host, process and start time takes its place. It is
taken over from a process that has died on this host; of other hosts nobody can know.
"""

import errno
import json
import os
import shlex
import socket
import sys
from datetime import datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from .._errors import RequestError, RunError

# Holds the kernel's lock, and says who has it. It is there only while somebody does, or after a kill.
LOCK = ".lock"
# The lock where the file system has none.
SOFT_LOCK = ".lock.soft"
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
# A command is shown up to this length.
_LONGEST_COMMAND = 120


class FolderLock:
    """A folder of which this process is the owner, until `release`.

    Raises `RequestError` if another process has it, and `RunError` if nothing can be written there.

    **Arguments:**

    - `folder`: must exist.
    - `title`: how the folder was named in the request: `hydra.run.dir=run`.
    """

    def __init__(self, folder: Path, title: str):
        self._note = folder / LOCK
        try:
            self._lock = self._acquire(folder, title)
            try:
                self._note.write_text(json.dumps(_myself()) + "\n")
            except OSError:
                self.release()
                raise
        except OSError as error:
            raise RunError(f"cannot write into {folder}: {error.strerror or error}") from error

    def _acquire(self, folder: Path, title: str) -> BaseFileLock:
        try:
            return _acquired(FileLock(self._note, thread_local=False, fallback_to_soft=False), folder, title)
        except NotImplementedError:
            pass
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        return _acquired(SoftFileLock(folder / SOFT_LOCK, thread_local=False), folder, title)

    def release(self) -> None:
        """Let others have the folder."""
        try:
            # Before the lock is released: who has opened the file already finds that it is gone, and tries again.
            self._note.unlink(missing_ok=True)
            self._lock.release()
        except OSError:  # the folder, or its disk, has gone
            pass

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def refuse_busy(folder: Path, title: str) -> None:
    """Raise `RequestError` if a process is at work in a folder; writes nothing unless one was."""
    if (folder / LOCK).exists() or (folder / SOFT_LOCK).exists():
        FolderLock(folder, title).release()


def _acquired(lock: BaseFileLock, folder: Path, title: str) -> BaseFileLock:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        hint = f" (if it has died, remove {folder / SOFT_LOCK})" if isinstance(lock, SoftFileLock) else ""
        raise RequestError(
            f"{title}: {_owner(folder)} is at work in it{hint}; wait until it has ended, or choose another directory"
        ) from None
    return lock


def _myself() -> dict[str, str | int]:
    """What the lock says of its owner."""
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now().isoformat(" ", "seconds"),
        "command": command if len(command) <= _LONGEST_COMMAND else command[: _LONGEST_COMMAND - 1] + "…",
    }


def _owner(folder: Path) -> str:
    """The owner of a lock in words."""
    try:
        owner = json.loads((folder / LOCK).read_text())
        return f"process {owner['pid']} on {owner['host']} (since {owner['since']}: {owner['command']})"
    except (OSError, ValueError, KeyError, TypeError):  # it has not said yet who it is
        return "another process"
