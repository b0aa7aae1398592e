"""What has to be set before the first array and the first matrix: imported before everything else."""

import os

# Before anything loads a BLAS: matrices of a thousand rows gain little from threads, and results must not depend on
# how many there are. Set the variable to have it otherwise.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The same for XLA's own products of matrices. Configurations are what runs in parallel.
if "xla_cpu_multi_thread_eigen" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()

import jax

# Everything here is float64 (see docs/physics.md).
jax.config.update("jax_enable_x64", True)
