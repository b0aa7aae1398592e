"""Compiled programs, kept in the user's cache folder: what a command has compiled, the next one loads."""

import contextlib
import functools
import hashlib
import os
import platform
import sys
from pathlib import Path

import platformdirs

# Variables of JAX. Who sets the first has chosen; with JAX_ENABLE_COMPILATION_CACHE=false nothing is kept.
FOLDER = "JAX_COMPILATION_CACHE_DIR"
SETTINGS = {
    # Most programs are small: JAX alone would keep those that took a second.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    # For every program that it loads, JAX prints two lines that take settings of the compiler for features of the
    # processor. What fails still raises.
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
# A program of ours has some ten to a hundred kilobytes.
MAX_BYTES = 512 * 2**20


def keep_compiled_programs() -> None:
    """Let JAX keep compiled programs in a folder for this kind of processor, unless the user has chosen another.

    JAX tells versions of itself and of its compiler apart, but not processors, and a program that was compiled for
    another one may crash. The variables have to be set before JAX is imported.
    """
    if FOLDER in os.environ or "jax" in sys.modules:
        return
    folder = default_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # without a home that can be written, every process compiles for itself
        return
    if os.access(folder, os.W_OK):
        os.environ[FOLDER] = str(folder)
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)


def default_folder() -> Path:
    """The folder that is used if the user has chosen none."""
    return platformdirs.user_cache_path("glasswright") / f"compiled-{processor()}"


@functools.cache
def processor() -> str:
    """A short name for this kind of processor and its features."""
    about = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):  # elsewhere than on Linux
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
        about += [line for line in first.splitlines() if line.startswith(("model name", "flags", "Features", "CPU "))]
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:12]


def folder_in_use() -> Path | None:
    """The folder in which programs are kept; None if none are."""
    folder = os.environ.get(FOLDER)
    if not folder or os.environ.get("JAX_ENABLE_COMPILATION_CACHE", "true").lower() in ("false", "0"):
        return None
    return Path(folder)


def kept() -> tuple[Path, int, int] | None:
    """The folder in use, its number of programs and their bytes; None if none are kept."""
    folder = folder_in_use()
    if folder is None:
        return None
    sizes = [size for _, size, _ in _programs(folder)]
    return folder, len(sizes), sum(sizes)


@functools.cache
def remove_oldest(max_bytes: int = MAX_BYTES) -> None:
    """Make the default folder smaller than half of this if it is larger: the programs written first go first.

    A process does so once.
    """
    if os.environ.get(FOLDER) != str(default_folder()):
        return  # a folder of the user's own, or none
    programs = sorted(_programs(default_folder()))
    total = sum(size for _, size, _ in programs)
    if total <= max_bytes:
        return
    for _, size, path in programs:
        if total <= max_bytes // 2:
            break
        path.unlink(missing_ok=True)
        total -= size


def _programs(folder: Path) -> list[tuple[float, int, Path]]:
    """Time of writing, bytes and path of each program in a folder."""
    programs = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.endswith("-cache"):
                with contextlib.suppress(OSError):  # another process has removed it
                    programs.append((entry.stat().st_mtime, entry.stat().st_size, Path(entry.path)))
    return programs


def remove_unreadable(message: str) -> bool:
    """Empty the folder if this warning of JAX says that a program in it cannot be read; returns whether it says so.

    A process that was killed while it wrote a program leaves a part of it, which JAX would neither read nor replace.
    """
    if not message.startswith("Error reading persistent compilation cache entry"):
        return False
    folder = folder_in_use()
    for _, _, path in _programs(folder) if folder else []:
        path.unlink(missing_ok=True)
    return True
