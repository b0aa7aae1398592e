"""Several processes, on one or several hosts, that divide the configurations of a run among them."""

import contextlib
import os
from collections.abc import Iterator

import jax

from .._errors import Interrupted, RequestError, Stopped
from .._types import Plain
from .container import from_bytes, to_bytes
from .peers import AbstractPeers, Alone, JaxPeers, PeerLost
from .place import bind_visible_device, place
from .star import Star

# Seconds to wait for the other processes of a run.
PATIENCE = 300.0
# What a process says that has done its work.
END = b"end"
_ALONE = Alone()
_joined: AbstractPeers | None = None


def peers() -> AbstractPeers:
    """The processes of the present run: those joined here, or by the caller under `jax.distributed`."""
    if _joined is not None:
        return _joined
    return JaxPeers() if jax.distributed.is_initialized() and jax.process_count() > 1 else _ALONE


@contextlib.contextmanager
def hosts_joined() -> Iterator[AbstractPeers]:
    """Join the other processes of the run if SLURM's `srun` or JAX's variables say that there are any.

    The variables are `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`. At the end they wait for each
    other; a process that fails tells the others. Must be entered before JAX looks for accelerators.
    """
    global _joined
    own = None if _joined is not None or jax.distributed.is_initialized() else place()
    if own is None:
        yield peers()
        return
    bind_visible_device()
    joined = Star(own, _patience())
    _joined = joined
    try:
        yield joined
        if set(joined.allgather(END)) != {END}:
            raise PeerLost(f"process {joined.rank} of {joined.count} has done its work, but others go on")
    except (Stopped, Interrupted):
        raise
    except BaseException as error:
        joined.leave(error)
        raise
    finally:
        joined.leave()
        _joined = None


def is_first_process() -> bool:
    """Whether this process is the one that writes: the only one, or the first of several."""
    return peers().rank == 0


def exchange(numbered: dict[int, Plain]) -> dict[int, Plain]:
    """The union, in every process, of what each process has by number."""
    union: dict[int, Plain] = {}
    for part in peers().allgather(to_bytes(numbered)):
        if part == END:
            raise PeerLost("another process of the run has done its work already, and this one goes on")
        union |= {int(key): value for key, value in from_bytes(part).items()}
    # In the same order everywhere, or files would depend on which process computed what.
    return dict(sorted(union.items()))


def _patience() -> float:
    given = os.environ.get("GLASSWRIGHT_HOSTS_TIMEOUT", str(PATIENCE))
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise RequestError(f"GLASSWRIGHT_HOSTS_TIMEOUT={given}: must be a number of seconds")
    return seconds
