import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before JAX is imported: what one process of a test session has compiled, no other of it compiles again, commands that
# tests run included. JAX warns of settings of the compiler that it takes for missing abilities of the machine.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    COMPILED = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="glasswright-compiled-")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
else:
    COMPILED = None

# Most of a session goes into compiling, and a third of that into fusing loops (jaxlib 0.10.1), which changes
# values by rounding only. `XLA_FLAGS= pytest` compiles as users do.
if importlib.metadata.version("jaxlib").startswith("0.10."):
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

import jax
import jaxtyping
import pytest
from glasswright.plots import training
from helpers import PACKINGS, Reference, reference_packing
from matplotlib.figure import Figure

TRAINING_FIGURE = training.training_figure

# Arrays of different ranks meet explicitly: a missing axis is an error in the tests, not a broadcast.
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_unconfigure():
    if COMPILED is not None:
        shutil.rmtree(COMPILED, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """One process for each file: what a file prepares and compiles for its tests is done once."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            """The file; nothing is shared between the tests of a file on one reference packing and on another."""
            file = super()._split_scope(nodeid)
            return next((f"{file}[{packing}]" for packing in PACKINGS if f"[{packing}" in nodeid), file)

    return Scheduling(config, log)


# Every compiled program holds about ten maps of memory, of which Linux grants a process 65 530. One that runs most of
# the tests would spend them and die of a segmentation fault in the compiler. What is used again is read from COMPILED.
MANY_MAPS = 20_000


def maps_of_memory() -> int:
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return 0


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_are_dropped() -> Iterator[None]:
    yield
    if maps_of_memory() > MANY_MAPS:
        jax.clear_caches()


@pytest.fixture(scope="session", autouse=True)
def _trainings_draw_nothing() -> Iterator[None]:
    """Their picture takes longer than most trainings of the tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "training_figure", lambda *_: Figure())
        yield


@pytest.fixture
def trainings_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at the picture of a training."""
    monkeypatch.setattr(training, "training_figure", TRAINING_FIGURE)


@pytest.fixture(autouse=True)
def _wrong_types(request) -> Iterator[None]:
    """Tests marked `wrong_types` reach the checks of our own, which users meet, before those of the session."""
    disabled = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", disabled or request.node.get_closest_marker("wrong_types") is not None)
    yield
    jaxtyping.config.update("jaxtyping_disable", disabled)


@pytest.fixture(scope="session", params=PACKINGS)
def reference(request) -> Reference:
    return reference_packing(request.param)


@pytest.fixture(scope="session")
def reference_2d() -> Reference:
    return reference_packing(PACKINGS[0])
