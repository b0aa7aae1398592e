"""Design variables: names, bounds, and the box that the cutoff must fit in."""

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.evaluation.design import resolve_design
from glasswright.evaluation.problem import Model
from helpers import component

HarmonicMorse = component("potential", "harmonic_morse")


@pytest.fixture
def model():
    return Model(HarmonicMorse(), gw.System(), component("protocol", "quench")())


def test_bare_names_and_paths_name_the_same(model):
    bare = resolve_design(model, {"diameter": (0.1, 2.0)})
    full = resolve_design(model, {"potential.diameter": (0.1, 2.0)})
    assert bare.names == full.names == ("diameter",)
    assert bare.paths == ("potential.diameter",)


def test_values_come_back_where_they_were_put(model):
    design = resolve_design(model, {"diameter": (0.1, 2.0), "binding_energy": (0.0, 1.0)})
    values = {"diameter": jnp.array([0.7, 1.1]), "binding_energy": jnp.array([0.2, 0.3, 0.4])}
    there = design.insert(model, values)
    for name, value in design.values(there).items():
        assert np.array_equal(value, values[name])
    assert eqx.tree_equal(there.system, model.system)
    assert there.potential.stiffness == 5.0


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({}, "design is empty"),
        ({"diametre": (0, 1)}, "did you mean 'diameter'"),
        ({"stiffness": (0, 1)}, "no such parameter"),
        ({"diameter": (2.0, 0.1)}, "lower < upper"),
        ({"diameter": (0.1, float("nan"))}, "lower < upper"),
        ({"diameter": 3.0}, r"must be \[lower, upper\]"),
        ({"diameter": (0.9, 2.0)}, "outside its bounds"),
        ({"diameter": (0.1, 2.0), "potential.diameter": (0.1, 2.0)}, "named twice"),
    ],
)
def test_wrong_requests(model, bounds, message):
    with pytest.raises(gw.RequestError, match=message):
        resolve_design(model, bounds)


def test_bounds_are_kept_by_projection(model):
    design = resolve_design(model, {"diameter": (0.5, 1.2), "binding_energy": (0.0, 1.0)})
    values = design.values(model)
    moved = design.step(model, values, {"diameter": jnp.array([-1.0, 0.1]), "binding_energy": -jnp.ones(3)})
    np.testing.assert_allclose(moved["diameter"], [0.5, 1.1])
    np.testing.assert_allclose(moved["binding_energy"], 0.0)


def test_the_cutoff_never_outgrows_half_the_box(model):
    design = resolve_design(model, {"diameter": (0.1, 9.0)})
    values = design.values(model)
    moved = design.step(model, values, {"diameter": jnp.array([0.0, 7.0])})
    slack = float(design.insert(model, moved).cutoff_slack)
    assert 0.0 <= slack < 1e-9
    still = design.step(model, moved, {"diameter": jnp.array([0.0, 1.0])})
    np.testing.assert_allclose(still["diameter"], moved["diameter"], atol=1e-9)


@pytest.mark.parametrize("given", [None, 0.3, [0.1, 0.2, 0.3], [[0.1, 0.2], [0.2, 0.3]]])
def test_ways_to_give_binding_energies(given):
    potential = HarmonicMorse(n_species=2, binding_energy=given)
    expected = {None: [0.1] * 3, 0.3: [0.3] * 3}.get(given if not isinstance(given, list) else "", [0.1, 0.2, 0.3])
    np.testing.assert_allclose(potential.binding_energy, expected)


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"diameter": [1.0, 1.0, 1.0], "n_species": 2}, "2 species need"),
        ({"binding_energy": [0.1, 0.2], "n_species": 2}, "packed upper triangle of 3"),
        ({"binding_energy": [[0.1, 0.2], [0.3, 0.1]], "n_species": 2}, "symmetric"),
        ({"binding_energy": -0.1}, "not be negative|not negative"),
        ({"diameter": float("nan")}, "positive and finite"),
        ({"inverse_range": 0.0}, "positive and finite"),
        ({"stiffness": -5.0}, "positive and finite"),
    ],
)
def test_wrong_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        HarmonicMorse(**arguments)


@pytest.mark.parametrize("n_species", [1, 2, 5])
def test_the_paper_values_for_any_number_of_species(n_species):
    potential = HarmonicMorse(n_species=n_species)
    assert np.sum(np.asarray(potential.diameter) == 0.8) == n_species // 2
    assert np.sum(np.asarray(potential.diameter) == 1.0) == n_species - n_species // 2
    assert potential.binding_energy.shape == (n_species * (n_species + 1) // 2,)
    matrix = np.arange(n_species * n_species).reshape(n_species, n_species).astype(float) + 1.0
    matrix = matrix + matrix.T
    packed = HarmonicMorse(n_species=n_species, binding_energy=matrix)
    configuration = gw.System(n_particles=n_species * 4, n_species=n_species).start(jax.random.key(0))
    i, j = np.triu_indices(n_species * 4, 1)
    _, binding, *_ = packed.pair_parameters(configuration, jnp.asarray(i), jnp.asarray(j))
    species = np.asarray(configuration.species)
    np.testing.assert_allclose(binding, matrix[species[i], species[j]])
