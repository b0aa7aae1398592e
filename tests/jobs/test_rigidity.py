"""What is not a solid has no ratio of moduli: counted, never averaged in, and null in `measure`."""

from pathlib import Path

import glasswright as gw
import jax
import numpy as np
import pytest
from glasswright.commands.train import TRAIN
from glasswright.components.protocol import Outcome
from glasswright.jobs.measure import MeasureRequest, measure
from glasswright.run.extxyz import write_configuration
from helpers import component

FLOATING = ["potential=soft_sphere", "potential.exponent=2.5", "system.n_particles=64", "system.density=1.0"]
RATIOS = ("poisson_ratio", "young_modulus", "anisotropy", "ratio")


def floating_packing(exponent: float) -> tuple[gw.AbstractProtocol, gw.AbstractPotential, gw.Prepared]:
    """Soft spheres far below jamming."""
    protocol, potential = component("protocol", "quench")(), component("potential", "soft_sphere")(exponent=exponent)
    start = gw.System(n_particles=64, density=1.0).start(jax.random.key(0))
    prepared = protocol.prepare(potential, start)
    assert prepared.accepted
    return protocol, potential, prepared


@pytest.mark.parametrize("exponent", [2.0, *(pytest.param(x, marks=pytest.mark.slow) for x in (2.5, 3.0))])
def test_spheres_below_jamming_are_not_rigid(exponent):
    protocol, potential, prepared = floating_packing(exponent)
    state = protocol.attach(potential, prepared)
    assert not bool(state.is_rigid)
    assert not np.any(np.asarray(state.elastic_tensor))


def test_outcomes_keep_their_numbers():
    # Checkpoints and files of validations hold them.
    names = ["converged", "max_steps", "unstable", "overflow", "nonfinite", "not_rigid"]
    assert [Outcome(k).name for k in range(len(names))] == names


def test_ratios_of_moduli_need_a_solid():
    for name in RATIOS:
        assert component("property", name)().needs_rigidity
    for name in ("bulk_modulus", "shear_modulus", "pressure", "pair"):
        assert not component("property", name)().needs_rigidity
    pair = component("property", "pair")(component("property", "poisson_ratio")())
    assert pair.needs_rigidity


def test_training_counts_them_and_takes_no_step():
    terms = ["property=[poisson_ratio]", "terms.poisson_ratio.objective.target=0.3", "train.steps=2"]
    run = ["sampler=fresh", "sampler.size=2", "design.diameter=[0.5,1.5]", "optimizer=rmsprop"]
    result = gw.train("experiment=null", *FLOATING, *terms, *run)
    assert (result["requested"], result["converged"], result["rejected"]) == (4, 0, {"not_rigid": 4})
    assert result["design"]["diameter"] == [0.8, 1.0]
    # On the command line that is a failure, and no average of designs is offered.
    assert TRAIN.failure(result) == "nothing was trained: none of 4 packings could be measured (4 not_rigid)"
    assert TRAIN.failure(result | {"loss": 0.1}) is None
    assert len(list(TRAIN.summarise(result, Path("run")))) == 2


def test_analyse_says_that_a_packing_is_not_rigid(tmp_path):
    _, _, prepared = floating_packing(2.5)
    packing = tmp_path / "floating.extxyz"
    packing.write_text(write_configuration(prepared.configuration))
    request = [f"configuration={packing}", "potential=soft_sphere", "potential.exponent=2.5", "parts=[tunability]"]
    with pytest.raises(gw.RunError, match="poisson_ratio: the packing is not rigid"):
        gw.analyse(*request, "property=[poisson_ratio]", progress=False)


def test_measure_gives_the_other_properties():
    _, potential, prepared = floating_packing(2.5)
    protocol = component("protocol", "quench")()
    properties = {name: component("property", name)() for name in ("poisson_ratio", "bulk_modulus", "pressure")}
    report = measure(MeasureRequest(prepared.configuration, potential, protocol, properties))["properties"]
    assert report["poisson_ratio"]["value"] is None
    assert "not rigid" in report["poisson_ratio"]["error"]
    assert report["bulk_modulus"]["value"] == 0.0
    assert abs(report["pressure"]["value"]) < 1e-9
