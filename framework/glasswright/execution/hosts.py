import base64
import json
import os
from typing import Any

import jax
import numpy as np

from .._errors import RequestError


def join_hosts() -> None:
    """Make this process one of several, where it was started as such: by SLURM's `srun`, or by JAX's variables.

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


def exchange(mine: dict[int, Any]) -> dict[int, Any]:
    """What every process knows by number, in every process."""
    from jax.experimental.multihost_utils import process_allgather

    data = np.frombuffer(json.dumps(_encode(mine)).encode(), dtype=np.uint8)
    sizes = np.asarray(process_allgather(np.asarray([len(data)]))).reshape(-1)
    padded = np.zeros(int(sizes.max()), dtype=np.uint8)
    padded[: len(data)] = data
    parts = np.asarray(process_allgather(padded)).reshape(len(sizes), -1)
    result: dict[int, Any] = {}
    for part, size in zip(parts, sizes, strict=True):
        known = _decode(json.loads(part[: int(size)].tobytes().decode()))
        result |= {int(key): value for key, value in known.items()}
    # In one order everywhere, or files would depend on who knew what.
    return dict(sorted(result.items()))


def _encode(value: Any) -> Any:
    """Plain data that JSON knows, arrays as their bytes."""
    if isinstance(value, dict):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        return {"__array__": [array.dtype.str, np.shape(value), base64.b64encode(array.tobytes()).decode()]}
    if isinstance(value, bytes):
        return {"__bytes__": base64.b64encode(value).decode()}
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"__array__"}:
        kind, shape, data = value["__array__"]
        return np.frombuffer(base64.b64decode(data), dtype=np.dtype(kind)).reshape(shape)
    if set(value) == {"__bytes__"}:
        return base64.b64decode(value["__bytes__"])
    return {key: _decode(item) for key, item in value.items()}
