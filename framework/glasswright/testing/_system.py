"""Checks of systems."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..components.system import AbstractSystem
from ..physics.configuration import Configuration
from ..registry.component import Component
from ._failures import fail, raised, run_all
from ._packings import default_potential
from ._static import as_component, static_checks

# Starts that are compared with each other.
STARTS = 4


def check_system(instance: AbstractSystem) -> None:
    """Check everything that a system has to do; raises one `ConformanceError` that lists what it does not."""
    __tracebackhide__ = True
    component = as_component(instance)
    run_all(f"system {component.name}", system_checks(component, instance))


def system_checks(component: Component, instance: AbstractSystem) -> dict[str, Callable[[], None]]:
    """The checks of one system, by name."""
    return {
        **static_checks(instance, component),
        "starts": lambda: check_starts(instance),
        "repeatable": lambda: check_repeatable(instance),
        "jit": lambda: check_jit(instance),
        "largest particles": lambda: check_largest_particles(instance),
        "box": lambda: check_box(instance),
    }


def check_starts(system: AbstractSystem) -> None:
    """Every start has the particles, species, dimension and density that the system states."""
    for index, start in enumerate(_starts(system)):
        n, d = start.fractional.shape
        if (n, d) != (system.n_particles, system.dimension):
            fail(
                f"start {index} has {n} particles in {d} dimensions; the system states n_particles="
                f"{system.n_particles} and dimension={system.dimension}"
            )
        if not np.all(np.isfinite(start.fractional)) or not np.all(np.isfinite(start.box)):
            fail(f"start {index} has positions or a box that are not finite")
        species = np.asarray(start.species)
        if species.shape != (n,) or species.dtype.kind not in "iu":
            fail(f"start {index} has species of shape {species.shape} and type {species.dtype}; needs an integer each")
        if species.min() < 0 or species.max() >= system.n_species:
            fail(f"start {index} has species {species.min()} to {species.max()}; there are {system.n_species}, from 0")
        counts = system.species_counts
        present = tuple(np.bincount(species, minlength=system.n_species).tolist())
        if counts is not None and tuple(counts) != present:
            fail(f"start {index} has {present} particles of the species; species_counts says {tuple(counts)}")
        if index == 0:
            density, stated = n / float(start.volume), float(system.density)
            if not np.isclose(density, stated, rtol=1e-9):
                fail(f"the density of start 0 is {density:g}; the system states density={stated:g}")


def check_repeatable(system: AbstractSystem) -> None:
    """The same key gives the same start, other keys or indices other ones."""
    starts, again = _starts(system), _starts(system)
    for index, (first, second) in enumerate(zip(starts, again, strict=True)):
        if not _equal(first, second):
            fail(f"start {index} is not the same when it is asked for again with the same key; use no other randomness")
    if len(starts) > 1 and all(_equal(starts[0], other) for other in starts[1:]):
        fail("all starts are the same; they have to depend on the key, or on the index")


def check_jit(system: AbstractSystem) -> None:
    """Starts can be drawn under `jit`, where the index is traced, unless their number is limited."""
    if system.n_configurations is not None:
        return
    key = jax.random.key(1)
    try:
        compiled = eqx.filter_jit(lambda system, key, index: system.start(key, index))(system, key, jnp.asarray(1))
    except Exception as error:
        fail(f"start fails under jax.jit: {raised(error)}")
    if not np.allclose(compiled.fractional, system.start(key, 1).fractional, rtol=1e-12, atol=1e-12):
        fail("start gives other positions under jax.jit")


def check_largest_particles(system: AbstractSystem) -> None:
    """No start needs pairs from further away than `largest_particles` does."""
    potential = default_potential()
    if system.n_species > 2:
        return  # the usual potential has two
    bound = float(potential.reach(system.largest_particles))
    for index, start in enumerate(_starts(system)):
        if float(potential.reach(start)) > bound * (1.0 + 1e-12):
            fail(f"particles of start {index} reach further than largest_particles")


def check_box(system: AbstractSystem) -> None:
    """`box` is a box of the system's dimension, and `in_box` moves no particle relative to it."""
    box, d = np.asarray(system.box), system.dimension
    if box.shape != (d, d) or not abs(np.linalg.det(box)) > 0.0:
        fail(f"box has the shape {box.shape}; it must be {d} lattice vectors as columns that span a volume")
    start = _starts(system)[0]
    if not np.array_equal(system.in_box(start).fractional, start.fractional):
        fail("in_box changes the fractional positions")
    if not np.allclose(system.in_box(start).box, start.box, rtol=1e-12):
        fail("a start is not in the box that in_box puts it into")


def _starts(system: AbstractSystem) -> list[Configuration]:
    """The first starts."""
    available = system.n_configurations
    number = STARTS if available is None else min(STARTS, available)
    return [system.start(jax.random.fold_in(jax.random.key(0), k), k) for k in range(number)]


def _equal(first: Configuration, second: Configuration) -> bool:
    """Whether two starts are the same."""
    return np.array_equal(first.fractional, second.fractional) and np.array_equal(first.box, second.box)


__all__ = ["check_system", "system_checks"]
