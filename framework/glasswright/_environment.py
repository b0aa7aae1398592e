"""What has to be set before the first array and the first matrix: imported before everything else."""

import ctypes
import os
import sys

# Before anything loads a BLAS: matrices of a thousand rows gain little from threads, and results must not depend on
# how many there are. Set the variable to have it otherwise.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The same for XLA's own products of matrices. Configurations are what runs in parallel.
if "xla_cpu_multi_thread_eigen" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()

# Everything here is float64 (see docs/physics.md). JAX reads the variable when it is imported, which takes a second:
# only what computes imports it.
os.environ["JAX_ENABLE_X64"] = "1"
if "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_enable_x64", True)

libc = ctypes.CDLL(None) if sys.platform == "linux" else None
if libc is not None and hasattr(libc, "mallopt"):
    # A factorisation takes and frees matrices of some megabytes. By default their memory goes back to the system each
    # time, and is faulted in anew page by page, which takes a seventh of the time of a factorisation.
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
    libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
    libc.mallopt(M_TRIM_THRESHOLD, 512 * 2**20)
