from collections.abc import Callable

import jax
import numpy as np

from ..components.system import System
from ..components.treatment import AbstractTreatment, Treated
from ..physics.configuration import Configuration
from ..registry.component import Component
from ._failures import fail, raised, run_all
from ._packings import default_potential, default_protocol
from ._static import as_component, static_checks

# Small, and a box wide enough for the usual potential.
N_PARTICLES = 64
COUNT = 2


def check_treatment(instance: AbstractTreatment) -> None:
    """Check everything that a treatment has to do; raises one `ConformanceError` that lists what it does not.

    It treats random starts of the usual potential in two dimensions. What it leaves is quenched afterwards.
    """
    __tracebackhide__ = True
    component = as_component(instance)
    run_all(f"treatment {component.name}", treatment_checks(component, instance))


class _Subject:
    """A treatment with what it made of a random start, at first use."""

    def __init__(self, treatment: AbstractTreatment):
        self.treatment, self.potential = treatment, default_potential()
        self.keys = jax.random.split(jax.random.key(1), COUNT)
        self.starts = jax.vmap(System(n_particles=N_PARTICLES).start)(jax.random.split(jax.random.key(0), COUNT))
        self._treated: Treated | None = None

    @property
    def start(self) -> Configuration:
        first: Configuration = jax.tree.map(lambda x: x[0], self.starts)
        return first

    @property
    def treated(self) -> Treated:
        if self._treated is None:
            self._treated = self.apply()
        return self._treated

    def apply(self) -> Treated:
        try:
            treated = self.treatment.apply(self.potential, self.start, key=self.keys[0])
        except Exception as error:
            fail(f"apply raised {raised(error)} for a random start of {N_PARTICLES} particles")
        if not isinstance(treated, Treated) or not isinstance(treated.configuration, Configuration):
            fail(f"apply returned a {type(treated).__name__}; it must be a gw.Treated with a gw.Configuration")
        return treated


def treatment_checks(component: Component, instance: AbstractTreatment) -> dict[str, Callable[[], None]]:
    """The checks of one treatment, by name."""
    subject = _Subject(instance)
    return {
        **static_checks(instance, component),
        "treated": lambda: check_treated(subject),
        "determinism": lambda: check_same_again(subject),
        "many": lambda: check_many(subject),
        "quench": lambda: check_quench(subject),
    }


def check_treated(subject: _Subject) -> None:
    """The same particles in the same box at finite positions, and statistics that are single numbers."""
    start, end = subject.start, subject.treated.configuration
    _check_particles(start, end)
    for name, number in subject.treated.statistics.items():
        if np.asarray(number).shape != () or not np.isfinite(np.asarray(number)):
            fail(f"statistics[{name!r}] is {number}; it must be a single finite number")


def _check_particles(start: Configuration, end: Configuration) -> None:
    if end.fractional.shape != start.fractional.shape or not np.all(np.isfinite(end.fractional)):
        fail(f"the positions have shape {end.fractional.shape} and must be finite numbers of {start.fractional.shape}")
    if not np.allclose(end.box, start.box, rtol=1e-12, atol=0.0):
        fail("the box is another one than before; a treatment that strains it has to bring it back")
    if not np.array_equal(np.sort(end.species), np.sort(start.species)):
        fail("there are other numbers of particles of each species than before")
    if set(end.disorder) != set(start.disorder):
        fail("fields of quenched disorder were lost, or added")


def check_same_again(subject: _Subject) -> None:
    """The same start and the same key give the same configuration to the last digit."""
    first, second = subject.treated.configuration, subject.apply().configuration
    if not np.array_equal(first.fractional, second.fractional) or not np.array_equal(first.species, second.species):
        fail("treated twice from one start with one key, the results differ; all randomness must come from `key`")


def check_many(subject: _Subject) -> None:
    """`apply_many`, where there is one, gives a configuration for each."""
    treated = subject.treatment.apply_many(subject.potential, subject.starts, keys=subject.keys)
    if treated is None:
        return
    for k in range(COUNT):
        start, end = (jax.tree.map(lambda x, k=k: x[k], c) for c in (subject.starts, treated.configuration))
        _check_particles(start, end)
    for name, numbers in treated.statistics.items():
        if np.shape(numbers) != (COUNT,):
            fail(f"apply_many: statistics[{name!r}] has shape {np.shape(numbers)}; it must be a number for each")


def check_quench(subject: _Subject) -> None:
    """What a treatment leaves can be quenched."""
    prepared = default_protocol().relax(subject.potential, subject.treated.configuration, key=subject.keys[0])
    if not prepared.accepted:
        fail("what it leaves cannot be quenched to a minimum")


__all__ = ["check_treatment", "treatment_checks"]
