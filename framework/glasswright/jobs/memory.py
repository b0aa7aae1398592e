"""The memory that one configuration takes, compared with that of this machine before anything is allocated."""

import contextlib
import os
from pathlib import Path

from .._errors import RequestError

# Where Linux says what a container may use.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

# Pairs, and a sparse Hessian with its factor, in two dimensions and with forty bonds to a particle.
BYTES_PER_PARTICLE = 20_000


def check_memory(given: str, n_particles: int, dimension: int, protocol: object = None) -> None:
    """Refuse configurations that this machine cannot hold; the message begins with what was `given`.

    **Arguments:**

    - `protocol`: how they are prepared; one whose field `hessian` is `dense` needs Hessian matrices as well.
    """
    need, what = BYTES_PER_PARTICLE * n_particles, "pairs and Hessian"
    hessian = 8 * (n_particles * dimension) ** 2
    if getattr(protocol, "hessian", None) == "dense" and hessian > need:
        need, what = hessian, "a dense Hessian"
    there = machine_memory()
    if there is not None and need > there:
        raise RequestError(
            f"{given}: {what} would take {_in_words(need)} of memory, and this machine has {_in_words(there)}; take "
            "fewer particles"
        )


def machine_memory() -> int | None:
    """The memory that this process may use, in bytes; None where the system does not say."""
    limits = []
    with contextlib.suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in LIMITS:
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min((number for number in limits if number > 0), default=None)


def _in_words(number: int) -> str:
    """A number of bytes with a unit."""
    for unit, power in (("PB", 5), ("TB", 4), ("GB", 3)):
        if number >= 1024**power:
            return f"{number / 1024**power:,.0f} {unit}"
    return f"{number / 1024**2:,.0f} MB"
