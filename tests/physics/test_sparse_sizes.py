"""At sizes where both are possible, the sparse Hessian gives what the dense one gives."""

import equinox as eqx
import glasswright as gw
import jax
import numpy as np
import pytest
from glasswright.physics.hessian import factor_hessian
from glasswright.physics.sparse_hessian import factor_sparse_hessian
from helpers import component

HarmonicMorse, Quench = component("potential", "harmonic_morse"), component("protocol", "quench")
NAMES = (
    "poisson_ratio",
    "bulk_modulus",
    "shear_modulus",
    "young_modulus",
    "anisotropy",
    "pressure",
    "energy_per_particle",
    "allosteric_response",
    "nonaffine_displacement",
)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d", "a", "density"), [(2048, 2, 5.0, 1.6), (1000, 3, 10.0, 1.4)])
def test_values_and_gradients_are_those_of_the_dense_hessian(n: int, d: int, a: float, density: float) -> None:
    potential = HarmonicMorse(inverse_range=a)
    start = gw.System(n_particles=n, dimension=d, density=density).start(jax.random.key(1))
    prepared = Quench(hessian="sparse").prepare(potential, start)
    assert prepared.accepted
    here = prepared.configuration, prepared.memory.neighbors
    dense, sparse = (factor(potential, *here) for factor in (eqx.filter_jit(factor_hessian), factor_sparse_hessian))
    assert bool(dense.is_stable)
    assert bool(sparse.is_stable)
    np.testing.assert_array_equal(dense.rattler, sparse.rattler)
    names = [name for name in NAMES if name != "anisotropy" or d == 2]
    properties = [component("property", name)() for name in names]

    @eqx.filter_jit
    def measure(potential: gw.AbstractPotential, hessian: gw.AbstractHessian) -> list:
        def value(potential: gw.AbstractPotential, measured: gw.AbstractProperty) -> jax.Array:
            return measured.measure(gw.attach_equilibrium(potential, *here, hessian)).reshape(-1)[0]

        return [eqx.filter_value_and_grad(value)(potential, measured) for measured in properties]

    for name, (value, gradient), (expected, reference) in zip(
        names, measure(potential, sparse), measure(potential, dense), strict=True
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-11, err_msg=name)
        difference, norm = (
            np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(tree)))
            for tree in (jax.tree.map(lambda x, y: x - y, gradient, reference), reference)
        )
        assert difference <= 1e-9 * norm, name
