"""The packings that components are tested on: prepared once in a process, and shared by all checks."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import yaml
from jaxtyping import Array, Float, PyTree

from .._types import Built, Setting
from ..components.protocol import AbstractProtocol, Outcome, Prepared
from ..components.system import System
from ..config.folder import configuration_folder
from ..config.instantiate import construct
from ..evaluation.design import trainable_leaves
from ..physics.configuration import Configuration, box_width
from ..physics.potential import AbstractPotential
from ..physics.state import State
from ..registry.component import Component
from ..registry.parameters import REQUIRED, parameters
from ..registry.registry import registry
from ._failures import fail

# The arrays of a potential, a tree of its structure, and strains of the box.
Parameters: TypeAlias = Mapping[str, PyTree]
# Enough particles for a solid that behaves like one, few enough for a Hessian that costs nothing.
LEAST_PARTICLES = 128
# Starts that are tried before a potential is said to give no packing.
MOST_STARTS = 3
MOST_STARTS_WITH_HOLES = 20
# Densities to try, in particles per unit volume.
DENSITIES = (1.6, 1.0, 0.8)
SIZE = {"n_particles": LEAST_PARTICLES, "n_species": 2, "dimension": 2, "density": 1.6}


@dataclasses.dataclass(frozen=True, eq=False)
class Packing:
    """A prepared packing, with the interactions and the protocol that it was prepared by.

    **Attributes:**

    - `name`: what messages call it.
    - `parameters`: the arrays of the potential, and `dilation` and `shear` of the box: what derivatives are taken in.
    """

    name: str
    potential: AbstractPotential
    protocol: AbstractProtocol
    prepared: Prepared

    @property
    def parameters(self) -> dict[str, PyTree]:
        arrays, _ = eqx.partition(self.potential, eqx.is_inexact_array)
        return {"potential": arrays, "dilation": jnp.zeros(()), "shear": jnp.zeros(())}

    @property
    def parameter_names(self) -> list[str]:
        return [*trainable_leaves({"potential": self.potential}), "dilation", "shear"]

    def strained_box(self, parameters: Parameters) -> Float[Array, "d d"]:
        """The box at other parameters."""
        box = self.prepared.configuration.box
        # A symmetric strain of the first two axes.
        exchanged = jnp.concatenate([box[1::-1], jnp.zeros_like(box[2:])])
        strained: Array = (1.0 + parameters["dilation"]) * box + 0.5 * parameters["shear"] * exchanged
        return strained

    def potential_at(self, parameters: Parameters) -> AbstractPotential:
        """The potential at other parameters."""
        _, rest = eqx.partition(self.potential, eqx.is_inexact_array)
        potential: AbstractPotential = eqx.combine(parameters["potential"], rest)
        return potential

    def state(self, parameters: Parameters | None = None, prepared: Prepared | None = None) -> State:
        """The state that properties read, as a function of the parameters.

        `prepared` is the packing prepared at these parameters, in the box that it was left in: a protocol may have
        changed it. What the box carries of a derivative is that of the strain.
        """
        parameters, prepared = parameters or self.parameters, prepared or self.prepared
        strained = self.strained_box(parameters)
        box = prepared.configuration.box + (strained - jax.lax.stop_gradient(strained))
        with_derivative = eqx.tree_at(lambda tree: tree.configuration.box, prepared, box)
        return self.protocol.attach(self.potential_at(parameters), with_derivative)

    def followed(self, parameters: Parameters) -> Prepared | None:
        """The packing prepared again at other parameters, from the same fractional positions; None where that fails."""
        box = self.strained_box(parameters)
        strained = eqx.tree_at(lambda tree: tree.configuration.box, self.prepared, box)
        again = self.protocol.follow(self.potential_at(parameters), strained, key=jax.random.key(0))
        return again if again.accepted else None

    def changed(self, change: str) -> Prepared:
        """The same packing described in another way: moved, numbered anew, other images, turned."""
        configuration = self.prepared.configuration
        fractional = configuration.fractional
        if change == "translated":
            fractional = fractional + jax.random.uniform(jax.random.key(1), (1, configuration.dimension))
        elif change == "relabelled":
            order = jax.random.permutation(jax.random.key(2), configuration.n_particles)
            fractional = fractional[order]
            disorder = {name: array[order] for name, array in configuration.disorder.items()}
            configuration = dataclasses.replace(configuration, species=configuration.species[order], disorder=disorder)
        elif change == "other images":
            fractional = fractional + jax.random.randint(jax.random.key(3), fractional.shape, -2, 3)
        elif change == "turned":
            # A quarter turn of a cubic box is that box again.
            fractional = fractional @ quarter_turn(configuration.dimension).T
        else:
            raise ValueError(f"changed({change!r}): translated, relabelled, other images or turned.")
        moved = dataclasses.replace(configuration, fractional=fractional)
        again = self.protocol.prepare(self.potential, moved, key=jax.random.key(0))
        if not again.accepted:
            fail(f"{self.name}: {change}, it could not be prepared again: {Outcome(int(again.outcome)).name}")
        return again


CHANGES = ("translated", "relabelled", "other images")


def quarter_turn(dimension: int) -> np.ndarray:
    """A rotation by 90 degrees in the first two axes."""
    turn = np.eye(dimension)
    turn[:2, :2] = [[0, -1], [1, 0]]
    return turn


def make_packing(
    potential: AbstractPotential, protocol: AbstractProtocol, dimension: int = 2, n_species: int = 2
) -> Packing:
    """A packing of at least 128 particles: as many as the range of the potential needs in the box.

    At the usual density if that can be: forces of stiffer cores are so large there that rounding hides the minimum. A
    potential that belongs to one packing has that one.
    """
    if potential.start is not None:
        own = protocol.prepare(potential, potential.start, key=jax.random.key(0))
        if not own.accepted:
            raise ValueError(f"its own packing could not be prepared: {Outcome(int(own.outcome)).name}")
        n, own_dimension = own.configuration.fractional.shape
        return Packing(f"{own_dimension}d packing of {n} particles", potential, protocol, own)
    least = 2.0 * float(potential.cutoff)
    outcomes = []
    for density in map(jnp.asarray, DENSITIES):
        n = LEAST_PARTICLES
        while float(box_width(System(n, n_species, dimension, density).box)) < 1.001 * least and n < 4096:
            n += 8 * n_species
        system = System(n, n_species, dimension, density)
        for k in range(MOST_STARTS):
            start, search = jax.random.split(jax.random.key(k))
            prepared = protocol.prepare(potential, system.start(start), key=search)
            if prepared.accepted:
                return Packing(f"{dimension}d packing of {n} particles", potential, protocol, prepared)
            outcomes.append(Outcome(int(prepared.outcome)).name)
    densities = ", ".join(map(str, DENSITIES))
    raise ValueError(
        f"no packing of {n} particles in {dimension}d could be prepared at densities {densities}: {', '.join(outcomes)}"
    )


def make_packing_with_holes(potential: AbstractPotential, protocol: AbstractProtocol) -> Packing:
    """A rigid solid in two dimensions with two holes: one particle floats in the first, a pair in the second.

    They are out of reach of the solid, so that one particle has no neighbour and two have a single neighbour. Such a
    packing finds formulas that divide by a number of neighbours.
    """
    reach = float(potential.cutoff)
    radius, n = reach + 1.5, 240
    length = np.sqrt(2.0) * (2.0 * radius + 3.2)
    holes = np.array([[0.25, 0.25], [0.75, 0.75]])
    system = System(n, 2, 2, density=n / length**2)
    for k in range(MOST_STARTS_WITH_HOLES):
        candidates = np.random.default_rng(k).random((40 * n, 2))
        apart = candidates[:, None] - holes
        outside = np.linalg.norm(apart - np.round(apart), axis=-1) * length > radius
        fractional = candidates[outside.all(axis=1)][:n]
        fractional[[0, 1, -1]] = holes[0], holes[1], holes[1] + np.array([0.9, 0.1]) / length
        start = dataclasses.replace(system.start(jax.random.key(k)), fractional=jnp.asarray(fractional))
        prepared = protocol.prepare(potential, start, key=jax.random.key(k))
        if prepared.accepted and neighbor_counts(prepared.configuration, reach)[[0, 1, -1]].tolist() == [0, 1, 1]:
            name = f"2d packing of {n} particles (one without neighbours, two with a single neighbour)"
            return Packing(name, potential, protocol, prepared)
    raise ValueError("no packing with holes could be prepared")


def neighbor_counts(configuration: Configuration, reach: float) -> np.ndarray:
    """The number of other particles within reach of each particle."""
    i, j = jnp.triu_indices(configuration.n_particles, 1)
    near = np.linalg.norm(np.asarray(configuration.displacement(i, j)), axis=1) < reach
    return np.bincount(np.concatenate([i[near], j[near]]), minlength=configuration.n_particles)


_prepared: dict[tuple[str, int], Packing] = {}


def default_packing(kind: str, protocol: AbstractProtocol | None = None) -> Packing:
    """One of the shared packings: `2d` (which has holes) or `3d`."""
    potential = default_potential()
    protocol = protocol or default_protocol()
    if kind == "2d":
        # A pair that floats rests where its force is zero. There the stiffness of the usual potential has its kink, and
        # nothing that contains it has a derivative.
        potential = default_instance(registry().get("potential", "morse"))
    # By the protocol's identity: one that holds arrays has no hash. The packing keeps it alive.
    key = kind, id(protocol)
    if key not in _prepared:
        make = make_packing_with_holes if kind == "2d" else functools.partial(make_packing, dimension=3)
        _prepared[key] = make(potential, protocol)
    return _prepared[key]


@functools.cache
def default_potential() -> AbstractPotential:
    """The potential that `glasswright train` starts from."""
    potential: AbstractPotential = default_instance(_default_component("potential"))
    return potential


@functools.cache
def default_protocol() -> AbstractProtocol:
    """The protocol that `glasswright train` starts from."""
    protocol: AbstractProtocol = default_instance(_default_component("protocol"))
    return protocol


def _default_component(kind: str) -> Component:
    chosen: dict[str, str] = {}
    for entry in yaml.safe_load((configuration_folder() / "train.yaml").read_text())["defaults"]:
        chosen |= entry if isinstance(entry, dict) else {}
    return registry().get(kind, chosen[kind])


def default_instance(component: Component, given: Mapping[str, Setting] | None = None) -> Built:
    """A component with its default parameters, built from its node as a run would; `given` sets parameters."""
    return construct(component, default_node(component, given), component.name, SIZE)


def default_node(component: Component, given: Mapping[str, Setting] | None = None) -> dict[str, Setting]:
    """The configuration node of a component with its defaults, and those of the components in it."""
    node: dict[str, Setting] = {"_target_": component.target}
    given = dict(given or {})
    for name, parameter in parameters(component).items():
        inner = {
            key.partition(".")[2]: value
            for source in (component.defaults, given)
            for key, value in source.items()
            if key.startswith(f"{name}.")
        }
        value = given.get(name, parameter.default)
        if parameter.kind == "component" and isinstance(value, str):
            node[name] = default_node(registry().get(parameter.group, value), inner)
        elif parameter.follows_system and name not in given:
            node[name] = SIZE[name]
        elif value is not REQUIRED:
            node[name] = list(value) if isinstance(value, tuple) else value
    return node


__all__ = [
    "CHANGES",
    "Packing",
    "Parameters",
    "default_instance",
    "default_packing",
    "default_potential",
    "default_protocol",
    "make_packing",
]
