"""Potentials from tables, against the formulas that the tables were made of."""

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.neighbors import build_pair_list
from helpers import component

KOB_ANDERSEN = {"pair_diameter": [1.0, 0.8, 0.88], "binding_energy": [1.0, 1.5, 0.5]}
R = np.linspace(0.7, 2.5, 4001)


def lennard_jones(r):
    """With value and two derivatives zero at 2.5: a table that ends smoothly."""
    potential = component("potential", "lennard_jones")(n_species=1, diameter=1.0, smoothing="polynomial_2")
    pair = gw.Configuration(jnp.zeros((2, 2)), jnp.eye(2), jnp.zeros(2, dtype=int))
    parameters = jax.tree.map(lambda x: x[0], potential.pair_parameters(pair, jnp.array([0]), jnp.array([1])))
    return np.asarray(jax.vmap(lambda x: potential.pair_energy(x, parameters))(jnp.asarray(r)))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "lennard_jones.txt"
    np.savetxt(path, np.column_stack([R, lennard_jones(R)]), header="r V")
    return path


def packing(n: int = 64) -> gw.Configuration:
    side = 8
    sites = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1).reshape(-1, 2) / side
    noise = 0.004 * jax.random.normal(jax.random.key(1), (n, 2))
    return gw.Configuration(jnp.asarray(sites) + noise, 8.0 * jnp.eye(2), jnp.arange(n) % 2)


def test_a_table_with_amplitudes_and_lengths_is_the_mixture_it_was_made_for(table):
    """One table of Lennard-Jones, scaled for each pair, is the Kob-Andersen mixture."""
    exact = component("potential", "lennard_jones")(smoothing="polynomial_2", **KOB_ANDERSEN)
    tabulated = component("potential", "tabulated")(
        table, KOB_ANDERSEN["binding_energy"], KOB_ANDERSEN["pair_diameter"], n_species=2
    )
    assert float(tabulated.cutoff) == float(exact.cutoff) == 2.5
    configuration = packing()
    neighbors = build_pair_list(configuration, 2.5)
    for own, expected in zip(
        eqx.filter_jit(tabulated.energy_and_gradient)(configuration, neighbors),
        eqx.filter_jit(exact.energy_and_gradient)(configuration, neighbors),
        strict=True,
    ):
        np.testing.assert_allclose(own, expected, rtol=1e-6, atol=1e-6)


def test_a_column_for_each_pair(tmp_path):
    lengths, energies = KOB_ANDERSEN["pair_diameter"], KOB_ANDERSEN["binding_energy"]
    columns = [e * lennard_jones(R / s) for s, e in zip(lengths, energies, strict=True)]
    (tmp_path / "pairs.csv").write_text(
        "\n".join(",".join(f"{x:.17g}" for x in row) for row in np.column_stack([R, *columns]))
    )
    tabulated = component("potential", "tabulated")(tmp_path / "pairs.csv")
    assert tabulated.n_species == 2
    exact = component("potential", "lennard_jones")(smoothing="polynomial_2", **KOB_ANDERSEN)
    configuration = packing()
    neighbors = build_pair_list(configuration, 2.5)
    np.testing.assert_allclose(
        tabulated.energy(configuration, neighbors), exact.energy(configuration, neighbors), rtol=1e-8
    )


@pytest.mark.parametrize("smoothing", ["polynomial_1", "polynomial_2"])
def test_derivatives_are_continuous_everywhere(tmp_path, smoothing):
    """Also across the first distance, the knots and the cutoff, where the table itself ends at another energy."""
    r = np.array([0.8, 0.9, 1.05, 1.1, 1.3, 1.6, 1.8, 2.0])
    np.savetxt(tmp_path / "coarse.txt", np.column_stack([r, 4 * (r**-12.0 - r**-6.0)]))
    potential = component("potential", "tabulated")(tmp_path / "coarse.txt", 2.0, 1.5, smoothing=smoothing)
    parameters = (jnp.asarray(2.0), jnp.asarray(1.5), jnp.asarray(0))
    order = {"polynomial_1": 1, "polynomial_2": 2}[smoothing]
    functions = [lambda x: potential.pair_energy(x, parameters)]
    for _ in range(2):
        functions.append(jax.grad(functions[-1]))
    step = 1e-9
    inner = 1.5 * r[:-1]
    for k, function in enumerate(functions):
        derivative = jax.jit(jax.vmap(function))
        np.testing.assert_allclose(derivative(inner - step), derivative(inner + step), rtol=1e-5, atol=1e-5)
        at_end = np.asarray(derivative(jnp.asarray([3.0 - step, 3.0 + step])))
        assert at_end[1] == 0.0
        assert abs(at_end[0]) < 1e-6 if k <= order else abs(at_end[0]) > 1e-3


def test_amplitudes_and_lengths_can_be_trained_and_the_table_cannot(table):
    from glasswright.evaluation.design import trainable_leaves

    potential = component("potential", "tabulated")(table, n_species=2)
    assert set(trainable_leaves({"potential": potential})) == {"potential.amplitude", "potential.length"}


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file"),
        ("", "needs 4 rows or more"),
        ("1 2\n2 3\n3 oops\n", "line 3: '3 oops' is no row of numbers"),
        ("1 2\n2 3\n2 4\n3 1\n", "line 3: needs finite numbers, and distances that ascend"),
        ("1 2\n2 3\n3 4 5\n", "line 3: 3 columns, and 2 before"),
        ("1 2 3\n2 3 4\n3 4 5\n4 0 0\n", "one column of energies for all pairs, or 1,"),
        ("1 nan\n2 3\n3 4\n4 0\n", "line 1: needs finite numbers"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, message):
    path = tmp_path / "table.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        component("potential", "tabulated")(path)
