"""Programs for many particles hold no array of all pairs of them: they are traced, not run."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.neighbors import PairList, build_pair_list, find_pairs
from glasswright.physics.sparse_hessian import SparseHessian
from glasswright.relax import FireSettings, fire, fire_start, newton_steps, push_apart
from helpers import component

N = 5041
HarmonicMorse = component("potential", "harmonic_morse")


def array_sizes(jaxpr: Any) -> Iterator[int]:
    """The number of elements of each array that a program makes, those of its inner programs included."""
    for equation in jaxpr.eqns:
        yield from (variable.aval.size for variable in equation.outvars if hasattr(variable.aval, "size"))
        for parameter in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from array_sizes(inner)


@pytest.fixture(scope="module", params=[2, 3])
def packing(request: pytest.FixtureRequest) -> tuple[gw.Configuration, PairList, SparseHessian]:
    """A random start, its pairs, and a Hessian of which only the shape matters."""
    d = request.param
    potential = HarmonicMorse()
    configuration = gw.System(n_particles=N, dimension=d).start(jax.random.key(0))
    neighbors = build_pair_list(configuration, float(potential.cutoff) + 0.3)
    p, vector = neighbors.capacity, np.zeros((N, d))
    hessian = SparseHessian(
        name=np.zeros((), dtype=np.uint64),
        i=neighbors.i,
        j=neighbors.j,
        stiffness=np.zeros((p, d, d)),
        pin=vector,
        position=vector,
        free=np.zeros((0, N, d)),
        rattler=np.zeros(N, dtype=bool),
        is_stable=np.asarray(True),
    )
    return configuration, neighbors, hessian


@pytest.mark.parametrize("program", ["pairs", "push_apart", "fire", "newton", "value and gradient"])
def test_no_program_holds_an_array_of_all_pairs(packing: tuple[Any, ...], program: str) -> None:
    configuration, neighbors, hessian = packing
    potential, tolerance = HarmonicMorse(), np.asarray(1e-12)

    def value_and_gradient(potential: gw.AbstractPotential) -> Any:
        def value(potential: gw.AbstractPotential) -> jax.Array:
            state = gw.attach_equilibrium(potential, configuration, neighbors, hessian)
            measured = component("property", "poisson_ratio")().measure(state)
            return measured + jnp.sum(state.response)

        return eqx.filter_value_and_grad(value)(potential)

    programs = {
        "pairs": lambda p: find_pairs(configuration, p.cutoff, neighbors.capacity),
        "push_apart": lambda p: push_apart(p, configuration, neighbors, np.asarray(10), 0.1),
        "fire": lambda p: fire(
            p, configuration, neighbors, fire_start(configuration), FireSettings(), tolerance, np.asarray(10)
        ),
        "newton": lambda p: newton_steps(p, configuration, neighbors, tolerance, hessian, np.asarray(0), 0.1),
        "value and gradient": value_and_gradient,
    }
    arrays, others = eqx.partition(potential, eqx.is_array)
    traced = jax.make_jaxpr(lambda arrays: programs[program](eqx.combine(arrays, others)))(arrays)
    sizes = list(array_sizes(traced.jaxpr))
    # The list itself: at least this is seen.
    assert max(sizes) >= neighbors.capacity
    assert max(sizes) < N**2
