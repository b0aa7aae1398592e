"""Settings of JAX, BLAS and the allocator. They have to precede the first array: this file is imported first."""

import ctypes
import os
import sys

from ._compiled import keep_compiled_programs

# Has to be set before a BLAS is loaded. Matrices of a thousand rows gain little from threads, and results must not
# depend on their number. Set the variable yourself for another choice.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The same for matrix products of XLA: what runs in parallel are configurations.
if "xla_cpu_multi_thread_eigen" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()

# Everything here is float64 (see docs/physics.md). JAX reads the variable when it is imported, which takes a second:
# only what computes imports it.
os.environ["JAX_ENABLE_X64"] = "1"
keep_compiled_programs()


def enable_64_bit() -> bool:
    """Turn 64-bit numbers on; returns whether somebody had turned them off."""
    jax = sys.modules.get("jax")
    if jax is None or jax.config.jax_enable_x64:
        return False
    jax.config.update("jax_enable_x64", True)
    return True


enable_64_bit()

libc = ctypes.CDLL(None) if sys.platform == "linux" else None
if libc is not None and hasattr(libc, "mallopt"):
    # A factorisation allocates and frees matrices of several megabytes. By default their memory is returned to the
    # system each time, and page faults take a seventh of the time of a factorisation.
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
    libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
    libc.mallopt(M_TRIM_THRESHOLD, 512 * 2**20)
