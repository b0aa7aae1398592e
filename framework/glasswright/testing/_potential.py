import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..physics.configuration import Configuration
from ..physics.elasticity import strain_basis
from ..physics.pair_list import PairList, build_pair_list
from ..physics.potential import AbstractPotential
from ..registry.component import Component
from ._bench import Bench
from ._checks import check_gradient, check_precision, check_value
from ._failures import fail, raised, run_all
from ._packings import Packing, default_protocol, make_packing, quarter_turn
from ._static import as_component, static_checks

# Derivatives in closed form against automatic differentiation: both are exact to rounding.
EXACT = 1e-9


def check_potential(instance: AbstractPotential) -> None:
    """Check everything that a potential has to do; raises one `ConformanceError` that lists what it does not.

    It is prepared by the usual protocol in two dimensions; the derivative of energy, stress and elastic tensor in every
    array of it is compared with central differences of the packing prepared again.
    """
    __tracebackhide__ = True
    component = as_component(instance)
    run_all(f"potential {component.name}", potential_checks(component, instance))


class _Subject:
    """A potential with the packing that it gives, prepared at first use."""

    def __init__(self, potential: AbstractPotential):
        self.potential = potential
        self._packing: Packing | None = None
        self._bench: Bench | None = None

    @property
    def packing(self) -> Packing:
        if self._packing is None:
            try:
                self._packing = make_packing(self.potential, default_protocol())
            except Exception as error:
                fail(f"could not be prepared: {raised(error)}; energies must be bounded below and smooth")
        return self._packing

    @property
    def bench(self) -> Bench:
        measures = {"energy, stress and elastic tensor": _observables}
        self._bench = self._bench or Bench(measures, self.packing, compiled=True)
        return self._bench

    @property
    def neighbors(self) -> PairList:
        return build_pair_list(self.packing.prepared.configuration, self.potential.cutoff)


# `Any`: a function to be measured takes any state, and those of potentials are in equilibrium.
def _observables(state: Any) -> Float[Array, " numbers"]:
    """Energy per volume, stress and elastic tensor, as one list of numbers."""
    density = state.energy / state.configuration.volume
    return jnp.concatenate([density[None], state.stress.reshape(-1), state.elastic_tensor.reshape(-1)])


def potential_checks(component: Component, instance: AbstractPotential) -> dict[str, Callable[[], None]]:
    """The checks of one potential, by name."""
    subject = _Subject(instance)
    observables = "energy, stress and elastic tensor"

    def on_bench(check: Callable[[Bench, str], None]) -> Callable[[], None]:
        return lambda: check(subject.bench, observables)

    return {
        **static_checks(instance, component),
        "cutoff": lambda: check_cutoff(instance),
        "value": on_bench(check_value),
        "precision": on_bench(check_precision),
        "jit": lambda: check_compiled(subject),
        "derivatives": lambda: check_derivatives(subject),
        "padding": lambda: check_padding(subject),
        "invariance": lambda: check_invariances(subject),
        "gradient": on_bench(check_gradient),
    }


def check_cutoff(potential: AbstractPotential) -> None:
    """A positive length, from which on particles do not interact, and at which the energy ends smoothly."""
    cutoff = np.asarray(potential.cutoff)
    if cutoff.shape != () or cutoff.dtype != np.float64 or not 0.0 < cutoff < np.inf:
        fail(f"cutoff is {cutoff!r}; it must be a positive and finite float64 of shape ()")
    if isinstance(getattr(potential, "bonds", lambda _: None)(_pair(potential, float(cutoff))), tuple):
        return
    scale = max(abs(_pair_energy(potential, x * float(cutoff))) for x in np.linspace(0.3, 0.99, 24))
    beyond = _pair_energy(potential, 1.001 * float(cutoff), listed=True)
    if beyond != 0.0:
        fail(f"two particles beyond the cutoff {cutoff:.6g} have energy {beyond:.6g}; it must be exactly zero there")
    at = abs(_pair_energy(potential, (1.0 - 1e-7) * float(cutoff)))
    if not at <= 1e-6 * scale:
        fail(
            f"the energy of two particles jumps by {at:.6g} at the cutoff {cutoff:.6g} (elsewhere it is up to "
            f"{scale:.6g}); shift or smooth it to zero, or a packing has no derivative"
        )


def _pair(potential: AbstractPotential, distance: float) -> Configuration:
    length = 4.0 * max(distance, float(potential.cutoff))
    fractional = jnp.asarray([[0.2, 0.2], [0.2 + distance / length, 0.2]])
    return Configuration(fractional=fractional, box=length * jnp.eye(2), species=jnp.zeros(2, dtype=int))


def _pair_energy(potential: AbstractPotential, distance: float, listed: bool = False) -> float:
    configuration = _pair(potential, distance)
    radius = 1.5 * distance if listed else 1.1 * float(potential.cutoff)
    return float(potential.energy(configuration, build_pair_list(configuration, radius, capacity=64)))


def check_compiled(subject: _Subject) -> None:
    """Energy and gradient are the same compiled and not, and the same when asked again."""
    configuration, neighbors = subject.packing.prepared.configuration, subject.neighbors
    method = subject.potential.energy_and_gradient
    first, again = (jax.device_get(method(configuration, neighbors)) for _ in range(2))
    jitted = jax.device_get(eqx.filter_jit(method)(configuration, neighbors))
    if not all(np.array_equal(a, b) for a, b in zip(first, again, strict=True)):
        fail(f"asked twice, the energy is {first[0]:.15g} and {again[0]:.15g}; it depends on nothing but its arguments")
    _agree("the energy under jax.jit", jitted[0], first[0], "that outside of it")
    if not np.allclose(jitted[1], first[1], rtol=1e-9, atol=1e-10):
        fail("the gradient under jax.jit differs from that outside of it; do not branch on what depends on positions")


def check_derivatives(subject: _Subject) -> None:
    """Gradient, Hessian, strain gradient and second variation are the derivatives of the energy."""
    potential, configuration, neighbors = subject.potential, subject.packing.prepared.configuration, subject.neighbors
    # Off the minimum, where gradients are not zero.
    moved = 0.02 * jax.random.normal(jax.random.key(0), configuration.fractional.shape)
    here = configuration.moved(moved)
    neighbors = build_pair_list(here, float(potential.cutoff) * 1.05)
    direction = jax.random.normal(jax.random.key(1), moved.shape)
    strains = strain_basis(here.dimension)
    displacements = jax.random.normal(jax.random.key(2), (len(strains), *moved.shape))
    methods: dict[str, tuple[Array, ...]] = {
        "gradient": (),
        "hessian_product": (direction,),
        "strain_gradient": (strains,),
        "second_variation": (strains, displacements),
    }

    @jax.jit
    def both(here: Configuration, neighbors: PairList) -> tuple[PyTree, ...]:
        own = {name: getattr(potential, name)(here, neighbors, *arguments) for name, arguments in methods.items()}
        automatic = {
            name: getattr(AbstractPotential, name)(potential, here, neighbors, *arguments)
            for name, arguments in methods.items()
        }
        return own, automatic, potential.energy_and_gradient(here, neighbors), potential.hessian(here, neighbors)

    own, automatic, (energy, gradient), hessian = jax.device_get(both(here, neighbors))
    for name in methods:
        _agree(name, own[name], automatic[name], "the derivative of `energy`")
    _agree("energy_and_gradient", gradient, own["gradient"], "`gradient`")
    _agree("energy_and_gradient", energy, np.asarray(potential.energy(here, neighbors)), "`energy`")
    product = (hessian @ np.asarray(direction).reshape(-1)).reshape(direction.shape)
    _agree("hessian", product, own["hessian_product"], "`hessian_product` along a direction")
    bound = float(potential.stiffness_bound(here, neighbors))
    largest = float(np.max(np.abs(np.linalg.eigvalsh(0.5 * (hessian + hessian.T)))))
    if not bound >= 0.9 * largest:
        fail(f"stiffness_bound gives {bound:.6g}, less than the largest eigenvalue {largest:.6g} of the Hessian")


def _agree(name: str, value: np.ndarray, expected: np.ndarray, what: str) -> None:
    scale = max(float(np.max(np.abs(expected))), 1e-300)
    error = float(np.max(np.abs(value - expected))) / scale if value.shape == expected.shape else np.inf
    if not error < EXACT:
        fail(f"{name} differs from {what} by {error:.1e} of its size; correct it, or leave it to the base class")


def check_padding(subject: _Subject) -> None:
    """Padding of the pair list contributes nothing, to the energy nor to any derivative."""
    potential, configuration = subject.potential, subject.packing.prepared.configuration
    neighbors = subject.neighbors
    n = int(neighbors.n_pairs)
    results = []
    for capacity in (n + 1, n + 64):
        padded = build_pair_list(configuration, neighbors.radius, capacity=capacity)
        value, slope = jax.value_and_grad(lambda x, p=padded: potential.energy(configuration.moved(x), p))(
            jnp.zeros_like(configuration.fractional)
        )
        results.append((float(value), np.asarray(slope)))
    (few, few_slope), (many, many_slope) = results
    if not np.isclose(few, many, rtol=1e-12, atol=0.0) or not np.allclose(few_slope, many_slope, rtol=1e-9, atol=1e-9):
        fail(
            f"with more padding in the pair list the energy goes from {few:.15g} to {many:.15g}, and its gradient "
            f"changes by {np.max(np.abs(few_slope - many_slope)):.1e}; multiply by `neighbors.mask`, and keep square "
            "roots and divisions safe where it is False"
        )


def check_invariances(subject: _Subject) -> None:
    """The energy is the same for the same packing described in another way."""
    potential, configuration = subject.potential, subject.packing.prepared.configuration
    before = float(potential.energy(configuration, subject.neighbors))
    n, d = configuration.fractional.shape
    order = jax.random.permutation(jax.random.key(2), n)
    disorder = {name: array[order] for name, array in configuration.disorder.items()}
    fractional = configuration.fractional
    others = {
        "with all particles moved alike": dataclasses.replace(configuration, fractional=fractional + 0.123),
        "with the particles' numbers exchanged": dataclasses.replace(
            configuration, fractional=fractional[order], species=configuration.species[order], disorder=disorder
        ),
        "with other periodic images of the particles": dataclasses.replace(
            configuration, fractional=fractional + jax.random.randint(jax.random.key(3), (n, d), -2, 3)
        ),
        "turned by a quarter": dataclasses.replace(configuration, fractional=fractional @ quarter_turn(d).T),
    }
    for what, other in others.items():
        bonds = getattr(potential, "bonds", lambda _: None)(configuration)
        if bonds is not None and "numbers" in what:
            continue  # a topology of its own names particles by number
        after = float(potential.energy(other, build_pair_list(other, potential.cutoff)))
        if not np.isclose(after, before, rtol=1e-11, atol=1e-12):
            fail(
                f"{what} the energy is {after:.15g} instead of {before:.15g}; read positions through "
                "`configuration.displacement` only, and species and disorder by particle"
            )


__all__ = ["check_potential", "potential_checks"]
