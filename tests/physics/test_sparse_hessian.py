"""The sparse factored Hessian is the dense one: solutions, derivatives, stability, rattlers and zero modes."""

import gc
import pickle

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.neighbors import PairList, build_pair_list
from glasswright.physics import sparse_hessian
from glasswright.physics.elimination import eliminate_by_dissection
from glasswright.physics.hessian import factor_hessian, factor_pinning_zero_modes
from glasswright.physics.sparse_factor import factor_blocks
from glasswright.physics.sparse_hessian import (
    SparseHessian,
    factor_sparse_hessian,
    factor_sparse_pinning_zero_modes,
    softest_mode,
)
from helpers import PACKINGS, Reference, component, reference_packing

HarmonicMorse, Quench = component("potential", "harmonic_morse"), component("protocol", "quench")


def sparse(reference: Reference) -> SparseHessian:
    """The sparse factored Hessian of a reference packing."""
    return factor_sparse_hessian(
        reference.potential, reference.prepared.configuration, reference.prepared.memory.neighbors
    )


@pytest.mark.parametrize("leaf", [1, 5, 1000])
@pytest.mark.parametrize("d", [1, 3])
def test_a_factor_solves_what_it_factored(monkeypatch: pytest.MonkeyPatch, leaf: int, d: int) -> None:
    """Any bonds, short or long, and particles without any."""
    monkeypatch.setattr("glasswright.physics.elimination.LARGEST_LEAF", leaf)
    generator, n = np.random.default_rng(leaf), 60
    position = generator.uniform(size=(n, 2))
    i, j = np.triu_indices(n - 2, 1)
    distance = np.linalg.norm(position[i] - position[j], axis=1)
    bonded = (distance < 0.15) | (generator.uniform(size=len(i)) < 0.01)
    i, j = i[bonded], j[bonded]
    blocks = generator.normal(size=(len(i), d, d))
    blocks = blocks @ blocks.transpose(0, 2, 1)
    diagonal = np.zeros((n, d, d)) + np.eye(d)
    np.add.at(diagonal, i, blocks)
    np.add.at(diagonal, j, blocks)
    matrix = np.zeros((n, d, n, d))
    matrix[np.arange(n), :, np.arange(n), :] = diagonal
    matrix[i, :, j, :] = matrix[j, :, i, :] = -blocks
    matrix = matrix.reshape(n * d, n * d)
    factor = factor_blocks(eliminate_by_dissection(position, i, j), diagonal, -blocks)
    assert factor is not None
    right = generator.normal(size=(3, n, d))
    np.testing.assert_allclose(factor.solve(right).reshape(3, -1), np.linalg.solve(matrix, right.reshape(3, -1).T).T)
    lowest = np.linalg.eigvalsh(matrix)[0]
    shifted = diagonal - (lowest + 1e-6) * np.eye(d)
    assert factor_blocks(eliminate_by_dissection(position, i, j), shifted, -blocks) is None


@pytest.mark.parametrize(
    ("name", "names"), [(PACKINGS[0], ("poisson_ratio", "allosteric_response")), (PACKINGS[1], ("poisson_ratio",))]
)
def test_properties_and_their_gradients_are_those_of_the_dense_hessian(name: str, names: tuple[str, ...]) -> None:
    reference = reference_packing(name)
    prepared, potential = reference.prepared, reference.potential
    properties = [component("property", wanted)() for wanted in names]

    @eqx.filter_jit
    def values_and_gradients(potential: gw.AbstractPotential, hessian: gw.AbstractHessian) -> list:
        arrays, others = eqx.partition(potential, eqx.is_inexact_array)

        def values(arrays: gw.AbstractPotential) -> jax.Array:
            moved = eqx.combine(arrays, others)
            state = gw.attach_equilibrium(moved, prepared.configuration, prepared.memory.neighbors, hessian)
            return jnp.stack([wanted.measure(state) for wanted in properties])

        return [values(arrays), *jax.tree.leaves(jax.jacrev(values)(arrays))]

    expected = values_and_gradients(potential, prepared.memory.hessian)
    result = values_and_gradients(potential, sparse(reference))
    np.testing.assert_allclose(result[0], expected[0], rtol=1e-11)
    for gradient, reference_gradient in zip(result[1:], expected[1:], strict=True):
        error = np.linalg.norm(gradient - reference_gradient, axis=-1)
        assert np.all(error <= 1e-9 * np.linalg.norm(reference_gradient, axis=-1))


def test_solve_is_a_linear_function_of_its_arrays(reference_2d: Reference) -> None:
    hessian, dense = sparse(reference_2d), reference_2d.prepared.memory.hessian
    force = jax.random.normal(jax.random.key(0), (3, *reference_2d.configuration.fractional.shape))
    force = force - jnp.mean(force, axis=1, keepdims=True)
    expected = hessian.solve(force)
    np.testing.assert_allclose(expected, dense.solve(force), atol=1e-12 * float(jnp.max(jnp.abs(expected))))
    solve = eqx.filter_jit(lambda h, f: h.solve(f))
    np.testing.assert_array_equal(solve(hessian, force), expected)
    np.testing.assert_array_equal(jax.vmap(hessian.solve)(force), expected)
    np.testing.assert_array_equal(jax.jvp(hessian.solve, (force,), (force,))[1], expected)
    np.testing.assert_array_equal(jax.vjp(hessian.solve, force)[1](force)[0], expected)
    many = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * 2), hessian)
    np.testing.assert_array_equal(jax.vmap(lambda h: h.solve(force))(many), jnp.stack([expected] * 2))


def test_the_host_keeps_a_factor_as_long_as_its_hessian(reference_2d: Reference) -> None:
    force = jax.random.normal(jax.random.key(0), reference_2d.configuration.fractional.shape)
    hessian = sparse(reference_2d)
    name, expected = int(hessian.name), hessian.solve(force)
    assert name in sparse_hessian._factors
    sent = pickle.dumps(jax.tree.map(np.asarray, hessian))
    del hessian
    gc.collect()
    assert name not in sparse_hessian._factors
    # As in another process: the factor is made of the matrix again.
    np.testing.assert_array_equal(pickle.loads(sent).solve(force), expected)
    # The same matrix has the same name.
    assert int(sparse(reference_2d).name) == name


def cluster(positions: list[list[float]], box: float = 12.0) -> tuple[gw.Configuration, PairList]:
    position = jnp.array(positions)
    n, d = position.shape
    configuration = gw.Configuration(position / box, box * jnp.eye(d), jnp.zeros(n, dtype=int))
    return configuration, build_pair_list(configuration, 3.5)


SHORT = HarmonicMorse(n_species=1, diameter=1.0, binding_energy=0.5, inverse_range=8.0)
FREE = {
    "two dimers and a rattler": [[0.0, 0.0], [1.0, 0.0], [5.0, 5.0], [5.0, 6.0], [9.0, 2.0]],
    "a triangle": [[1.0, 1.0], [2.0, 1.0], [1.5, 1.0 + 0.75**0.5]],
    "a dimer in space": [[1.0, 1.0, 1.0], [1.0, 2.0, 1.0]],
    "nothing touches": [[1.0, 1.0], [5.0, 5.0], [9.0, 2.0]],
    "three in a row": [[1.9, 6.0], [3.0, 6.0], [4.1, 6.0]],
}


@pytest.mark.parametrize("name", FREE)
def test_free_clusters_are_classified_as_by_eigenvalues(name: str) -> None:
    configuration, neighbors = cluster(FREE[name])
    dense, sparse = (
        factor_hessian(SHORT, configuration, neighbors),
        factor_sparse_hessian(SHORT, configuration, neighbors),
    )
    assert bool(dense.is_stable) == bool(sparse.is_stable)
    (dense, expected), (sparse, number) = (
        factor(SHORT, configuration, neighbors)
        for factor in (factor_pinning_zero_modes, factor_sparse_pinning_zero_modes)
    )
    assert bool(dense.is_stable) == bool(sparse.is_stable)
    np.testing.assert_array_equal(dense.rattler, sparse.rattler)
    if not bool(dense.is_stable):
        return
    assert number == int(expected)
    # A force without component along zero modes.
    move = jax.random.normal(jax.random.key(1), configuration.fractional.shape)
    force = SHORT.hessian_product(configuration, neighbors, move)
    np.testing.assert_allclose(sparse.solve(force), dense.solve(force), atol=1e-9)


def test_unstable_configurations_are_left_along_a_mode_that_lowers_the_energy() -> None:
    line = [[0.7, 3.5], [2.1, 3.5], [3.5, 3.5], [4.9, 3.5], [6.3, 3.5]]
    potential = HarmonicMorse(n_species=1, diameter=1.0)
    configuration, neighbors = cluster(line, 7.0)
    assert not bool(factor_sparse_hessian(potential, configuration, neighbors).is_stable)
    hessian, _ = factor_sparse_pinning_zero_modes(potential, configuration, neighbors)
    assert not bool(hessian.is_stable)
    assert bool(jnp.all(jnp.isnan(hessian.solve(configuration.fractional))))
    mode = softest_mode(potential, configuration, neighbors)
    matrix = np.asarray(potential.hessian(configuration, neighbors))
    assert np.linalg.norm(mode) == pytest.approx(1.0)
    assert mode.reshape(-1) @ matrix @ mode.reshape(-1) == pytest.approx(np.linalg.eigvalsh(matrix)[0], rel=1e-3)


def starts() -> dict[str, tuple[gw.AbstractPotential, gw.Configuration]]:
    def random(n: int, seed: int, **system: float) -> gw.Configuration:
        return gw.System(n_particles=n, **system).start(jax.random.key(seed))

    return {
        "dense": (HarmonicMorse(), random(128, 3)),
        "gel": (HarmonicMorse(binding_energy=0.5, inverse_range=8.0), random(96, 0, density=0.15)),
        "space": (HarmonicMorse(inverse_range=10.0), random(128, 1, dimension=3, density=1.2)),
    }


@pytest.mark.parametrize("name", ["gel", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dense", "space"))])
def test_a_quench_ends_in_the_same_minimum(name: str) -> None:
    potential, start = starts()[name]
    dense, sparse = (Quench(hessian=kind, max_steps=50_000).prepare(potential, start) for kind in ("dense", "sparse"))
    assert int(dense.outcome) == int(sparse.outcome)
    for count in ("saddles", "zero_modes", "rattlers"):
        assert int(dense.statistics[count]) == int(sparse.statistics[count]), count
    if name != "gel":
        # Clusters that float free rest anywhere.
        shift = dense.configuration.fractional - sparse.configuration.fractional
        np.testing.assert_allclose(shift - jnp.round(shift), 0.0, atol=1e-9)
    moved = eqx.tree_at(lambda p: p.diameter, potential, replace_fn=lambda x: x * 1.0001)
    ends = [Quench(hessian=kind).follow(moved, p) for kind, p in (("dense", dense), ("sparse", sparse))]
    assert int(ends[0].outcome) == int(ends[1].outcome)
