"""Derivatives of every property with every potential against central differences of the prepared system.

All properties of a packing are compiled together. Those of the harmonic-Morse potential are in `test_properties.py`.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.evaluation.design import is_trainable
from glasswright.physics.configuration import box_width
from glasswright.registry.parameters import REQUIRED, parameters
from helpers import REFERENCE, component, properties_of_equilibria

# What cannot be measured in a combination, and the reason that is given for it.
NOT_COMBINED = {
    ("bond_contributions", f"jax_md {dimension}D"): "bond_contributions: JaxMD is no sum over pairs"
    for dimension in (2, 3)
}
QUENCH = component("protocol", "quench")()
# Without a matrix FIRE goes all the way, as far as the tolerance. Along soft modes that leaves 1e-10, 1e-4 of what a
# difference moves; Newton's method, where there is a matrix, ends at rounding.
TO_ROUNDING = component("protocol", "quench")(force_tolerance=1e-14)
SMALL = ("poisson_ratio", "pressure", "energy_per_particle")


@pytest.fixture(autouse=True)
def forgotten():
    """Every case compiles programs of its own, so large that the compiler runs out of room for all of them."""
    yield
    jax.clear_caches()


@dataclasses.dataclass(frozen=True)
class Case:
    """A potential with a system in which it makes a solid, and where the derivatives of its pair energy jump."""

    make: Callable[[], gw.AbstractPotential]
    dimension: int
    density: float
    kinks: Callable[[gw.AbstractPotential, jax.Array], tuple]
    n_particles: int = 128
    quench: gw.AbstractProtocol = QUENCH
    system: dict[str, Any] = dataclasses.field(default_factory=dict)


def ratios(potential, s):
    return potential.onset_ratio * s, potential.cutoff_ratio * s


def morse_range(potential, s):
    return s + 5.0 / potential.inverse_range, s + 9.9 / potential.inverse_range


def make(name, **options):
    return functools.partial(component("potential", name), **options)


def both():
    return component("potential", "sum")(make("morse", inverse_range=8.0)(), make("soft_sphere", exponent=2.5)())


CASES = {
    "harmonic_morse 2D": Case(make("harmonic_morse"), 2, 1.6, lambda p, s: (s, *morse_range(p, s))),
    "harmonic_morse 3D": Case(make("harmonic_morse", inverse_range=10.0), 3, 1.4, lambda p, s: (s, *morse_range(p, s))),
    "morse 2D": Case(make("morse"), 2, 1.6, morse_range),
    "morse 3D": Case(make("morse", inverse_range=10.0), 3, 1.4, morse_range),
    "lennard_jones 2D": Case(make("lennard_jones"), 2, 1.3, ratios),
    "lennard_jones 3D": Case(make("lennard_jones", onset_ratio=1.5, cutoff_ratio=1.9), 3, 1.3, ratios),
    "inverse_power 2D": Case(make("inverse_power"), 2, 1.3, ratios),
    "inverse_power 3D": Case(make("inverse_power"), 3, 1.3, ratios),
    "yukawa 2D": Case(make("yukawa"), 2, 1.3, ratios),
    "yukawa 3D": Case(make("yukawa", onset_ratio=1.5, cutoff_ratio=2.1), 3, 1.3, ratios),
    **{
        f"lennard_jones of pairs {smoothing} {dimension}D": Case(
            make(
                "lennard_jones",
                pair_diameter=[1.0, 0.8, 0.88],
                binding_energy=[1.0, 1.5, 0.5],
                cutoff_ratio=2.5 if dimension == 2 else 1.9,
                onset_ratio=1.5,
                smoothing=smoothing,
            ),
            dimension,
            1.2,
            ratios if smoothing == "xplor" else lambda p, s: (p.cutoff_ratio * s,),
        )
        for smoothing, dimension in [
            ("xplor", 2),
            ("polynomial_1", 2),
            ("polynomial_2", 3),
            ("polynomial_3", 2),
            ("polynomial_3", 3),
        ]
    },
    "harmonic_morse c3 2D": Case(
        make("harmonic_morse", smoothing="polynomial_3"), 2, 1.6, lambda p, s: (s, s + 9.9 / p.inverse_range)
    ),
    "soft_sphere 2D": Case(make("soft_sphere"), 2, 1.7, lambda p, s: (s,)),
    "soft_sphere 3D": Case(make("soft_sphere"), 3, 2.0, lambda p, s: (s,)),
    "hertzian 2D": Case(make("soft_sphere", exponent=2.5), 2, 1.7, lambda p, s: (s,)),
    "sum 2D": Case(both, 2, 1.6, lambda p, s: (*morse_range(p.first, s[0]), s[1])),
    "sum 3D": Case(
        lambda: component("potential", "sum")(make("morse", inverse_range=10.0)(), make("soft_sphere")()),
        3,
        1.4,
        lambda p, s: (*morse_range(p.first, s[0]), s[1]),
    ),
    "harmonic_spring_network 2D": Case(
        make("harmonic_spring_network", packing=str(REFERENCE / "2d_n368_sp2_a5.extxyz"), rest_ratio=0.97),
        2,
        1.6,
        lambda p, s: (),
    ),
    "harmonic_spring_network 3D": Case(
        make("harmonic_spring_network", packing=str(REFERENCE / "3d_n256_sp2_a10.extxyz"), rest_ratio=0.97),
        3,
        1.4,
        lambda p, s: (),
    ),
    "jax_md 2D": Case(
        lambda: component("potential", "jax_md")("lennard_jones", {"sigma": [0.8, 1.0]}, cutoff=2.2, n_species=2),
        2,
        1.3,
        lambda p, s: (1.76, 2.2),
        quench=TO_ROUNDING,
    ),
    "jax_md 3D": Case(
        lambda: component("potential", "jax_md")("lennard_jones", {"sigma": [0.8, 1.0]}, cutoff=1.9, n_species=2),
        3,
        1.3,
        lambda p, s: (1.52, 1.9),
        quench=TO_ROUNDING,
    ),
}


# Boxes that are no cubes, and species in unequal numbers: property x potential x box.
SKEWED: dict[str, Any] = {"box": [[1.0, 0.4], [0.0, 1.2]], "composition": [0.7, 0.3]}
ELONGATED: dict[str, Any] = {"box": [[1.0, 0.0, 0.0], [0.0, 1.1, 0.0], [0.0, 0.0, 1.6]], "composition": [0.8, 0.2]}
for name in ("harmonic_morse", "morse", "lennard_jones", "inverse_power", "yukawa", "soft_sphere"):
    CASES[f"{name} 2D skewed"] = dataclasses.replace(CASES[f"{name} 2D"], n_particles=181, system=SKEWED)
    CASES[f"{name} 3D elongated"] = dataclasses.replace(CASES[f"{name} 3D"], n_particles=181, system=ELONGATED)


def fitting_properties(potential) -> tuple[str, ...]:
    """Every registered property that needs no parameter of its own and fits the potential."""
    names = []
    for name, entry in properties_of_equilibria().items():
        needs = [p for p in parameters(entry).values() if p.default is REQUIRED]
        # A distance of neighbours follows from the diameters, where there are any.
        diameters = hasattr(potential, "diameter") or "distance" not in parameters(entry)
        if not needs and diameters:
            names.append(name)
    return tuple(names)


@functools.cache
def prepare(case_name: str) -> tuple[gw.AbstractPotential, gw.Prepared]:
    """The first random start that ends at a minimum."""
    case = CASES[case_name]
    potential = case.make()
    if potential.start is not None:
        starts = [potential.start]
    else:
        system = gw.System(case.n_particles, dimension=case.dimension, density=case.density, **case.system)
        assert 2 * float(potential.reach(system.largest_particles)) <= float(box_width(system.box))
        starts = [system.start(jax.random.fold_in(jax.random.key(17), k)) for k in range(3)]
    for start in starts:
        prepared = case.quench.prepare(potential, start)
        if prepared.accepted:
            return potential, prepared
    pytest.fail("no packing could be prepared")


def sides(case: Case, potential, configuration, neighbors) -> np.ndarray:
    """On which side of each kink every pair is."""
    kinks = case.kinks
    if isinstance(potential, gw.AbstractPairPotential):
        i, j, mask = potential.pairs(configuration, neighbors)
        parameters = potential.pair_parameters(configuration, i, j)
        nested = isinstance(parameters[0], tuple)
        s = tuple(part[0] for part in parameters) if nested else parameters[0]
    else:
        (i, j, mask), s = (neighbors.i, neighbors.j, neighbors.mask), None
    r = jnp.linalg.norm(configuration.displacement(i, j), axis=1)
    return np.stack([np.asarray(mask & (r >= kink)) for kink in kinks(potential, s)] or [np.zeros(1)])


def check(case_name: str, names: tuple[str, ...] | None = None) -> dict[str, float]:
    """Compare all derivatives along one random direction; the relative error of each property."""
    case = CASES[case_name]
    potential, prepared = prepare(case_name)
    names = names or fitting_properties(potential)
    names = tuple(name for name in names if (name, case_name) not in NOT_COMBINED)
    tree, static = eqx.partition(potential, is_trainable)
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(3), len(leaves))
    # Relative to each parameter, so that none is made negative and none dominates.
    direction = structure.unflatten([x * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)])

    def contracted(tree, prepared):
        state = case.quench.attach(eqx.combine(tree, static), prepared)
        result = {}
        for name in names:
            value = jnp.asarray(component("property", name)().measure(state))
            result[name] = jnp.sum(jax.random.normal(jax.random.key(7), value.shape) * value)
        return result

    @eqx.filter_jit
    def along(prepared):
        """Values and slopes along the direction, forward; and the gradient, in reverse, of their weighted sum."""
        values, slopes = jax.jvp(lambda t: contracted(t, prepared), (tree,), (direction,))
        gradient = jax.grad(lambda t: sum(contracted(t, prepared).values()))(tree)
        return values, slopes, gradient

    measure = eqx.filter_jit(contracted)
    values, slopes, gradient = along(prepared)
    reverse = sum(
        float(jnp.vdot(g, d)) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
    )
    forward = sum(map(float, slopes.values()))
    assert abs(forward - reverse) < 1e-8 * sum(abs(float(x)) for x in slopes.values())
    neighbors = prepared.memory.neighbors
    home = sides(case, potential, prepared.configuration, neighbors)

    def ends(step):
        measured, same = [], True
        for sign in (-2, -1, 1, 2):
            moved = jax.tree.map(lambda x, d: x + sign * step * d, tree, direction)  # noqa: B023
            there = eqx.combine(moved, static)
            followed = case.quench.follow(there, prepared)
            assert followed.accepted
            same = same and np.array_equal(home, sides(case, there, followed.configuration, neighbors))
            measured.append(measure(moved, followed))
        return measured, same

    # The best of several steps: a difference tends to the derivative as its step does to zero, until rounding of the
    # values limits what it can tell. Two modes that nearly have the same frequency need a short one, since they mix.
    errors = dict.fromkeys(names, np.inf)
    for step in (4e-6, 1e-6, 2.5e-7, 6e-8):
        measured, same = ends(step)
        if not same:
            continue
        for name in names:
            far2, near2, near, far = (float(end[name]) for end in measured)
            difference = (8 * (near - near2) - (far - far2)) / (12 * step)
            slope = float(slopes[name])
            rounding = 1e-12 * max(abs(float(values[name])), 1e-3) / step
            error = max(abs(difference - slope) - rounding, 0.0) / max(abs(slope), 1e-3)
            errors[name] = min(errors[name], error)
        wrong = {name: error for name, error in errors.items() if not error < 1e-5}
        print(case_name, f"step {step:.1e}", {name: f"{error:.1e}" for name, error in wrong.items()} or "no error")
        if not wrong:
            break
    else:
        assert max(errors.values()) < np.inf, "a pair changes branch however small the step"
    assert not wrong
    assert sum(abs(float(slope)) > 1e-3 for slope in slopes.values()) > len(names) // 2
    return errors


@pytest.mark.slow
def test_a_small_part():
    """Harmonic spheres in two dimensions; the whole grid takes minutes."""
    check("soft_sphere 2D", SMALL)


@pytest.mark.wrong_types
@pytest.mark.slow
@pytest.mark.parametrize(("name", "case_name"), list(NOT_COMBINED))
def test_what_cannot_be_combined_says_so(name, case_name):
    potential, prepared = prepare(case_name)
    with pytest.raises(ValueError, match=NOT_COMBINED[name, case_name]):
        component("property", name)().measure(QUENCH.attach(potential, prepared))


@pytest.mark.slow
@pytest.mark.parametrize("case_name", list(CASES))
def test_every_property(case_name):
    check(case_name)
