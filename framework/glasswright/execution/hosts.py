"""Several processes, on one or several hosts, that divide the configurations of a run among them."""

import os
from typing import Any

import jax
import numpy as np

from .._errors import RequestError
from .container import from_bytes, to_bytes


def join_hosts() -> None:
    """Join the other processes of the run if SLURM's `srun` or JAX's variables say that there are any.

    The variables are `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`. Must be called before the
    first array.
    """
    if jax.distributed.is_initialized():
        return
    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    if address and "JAX_NUM_PROCESSES" in os.environ:
        number, count = os.environ.get("JAX_PROCESS_ID", "0"), os.environ["JAX_NUM_PROCESSES"]
        if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
            raise RequestError(f"JAX_PROCESS_ID={number}, JAX_NUM_PROCESSES={count}: must be numbers, id below count")
        if int(count) > 1:
            jax.distributed.initialize(address, int(count), int(number))
    elif int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "SLURM_PROCID" in os.environ:
        jax.distributed.initialize()


def is_first_process() -> bool:
    """Whether this process is the one that writes: the only one, or the first of several."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def exchange(numbered: dict[int, Any]) -> dict[int, Any]:
    """The union, in every process, of what each process has by number."""
    from jax.experimental.multihost_utils import process_allgather

    data = np.frombuffer(to_bytes(numbered), dtype=np.uint8)
    sizes = np.asarray(process_allgather(np.asarray([len(data)]))).reshape(-1)
    padded = np.zeros(int(sizes.max()), dtype=np.uint8)
    padded[: len(data)] = data
    parts = np.asarray(process_allgather(padded)).reshape(len(sizes), -1)
    union: dict[int, Any] = {}
    for part, size in zip(parts, sizes, strict=True):
        union |= {int(key): value for key, value in from_bytes(part[: int(size)].tobytes()).items()}
    # In the same order everywhere, or files would depend on which process computed what.
    return dict(sorted(union.items()))
