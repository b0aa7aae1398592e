"""How the gradients of terms become one: by what is published, and the same in a resumed run."""

import itertools
import json
import shutil
from pathlib import Path

import glasswright as gw
import jax
import numpy as np
import pytest
from glasswright import cli
from glasswright.evaluation.combining import combine_terms
from glasswright.evaluation.loss import Evaluation
from glasswright.run.checkpoint import pack, unpack
from helpers import component

SMALL = ["system.n_particles=64", "train.steps=2", "train.tolerance=0", "devices=1"]
Target = component("objective", "target")
Normalized, PCGrad = component("combination", "normalized"), component("combination", "pcgrad")


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def evaluation_of(gradients: np.ndarray, losses=None) -> tuple[dict[str, gw.Term], Evaluation]:
    names = [f"term_{k}" for k in range(len(gradients))]
    losses = np.arange(1.0, len(gradients) + 1) if losses is None else losses
    split = {name: {"a": row[:2], "b": row[2:].reshape(1, -1)} for name, row in zip(names, gradients, strict=True)}
    terms = {name: gw.Term(component("property", "pressure")(), Target(0.0)) for name in names}
    by_name = dict(zip(names, map(float, losses), strict=True))
    return terms, Evaluation(float(np.sum(losses)), {}, by_name, {}, {}, split, {}, [])


def combined(combination, gradients, losses=None, state=()):
    terms, evaluation = evaluation_of(np.asarray(gradients), losses)
    result = combine_terms(combination, terms, evaluation, state)
    return np.concatenate([np.ravel(part) for part in result.gradient.values()]), result


def pcgrad_in_orders(gradients: np.ndarray) -> np.ndarray:
    """Algorithm 1 of Yu et al. on the vectors themselves, for every order of the other terms."""
    total = np.zeros(gradients.shape[1])
    for i in range(len(gradients)):
        results = []
        for order in itertools.permutations([j for j in range(len(gradients)) if j != i]):
            g = gradients[i].copy()
            for j in order:
                if g @ gradients[j] < 0.0:
                    g = g - (g @ gradients[j]) / (gradients[j] @ gradients[j]) * gradients[j]
            results.append(g)
        total += np.mean(results, axis=0)
    return total


@pytest.mark.parametrize("n_terms", [1, 2, 3, 5])
def test_pcgrad_is_the_mean_of_the_published_algorithm(n_terms):
    conflicts = 0
    for seed in range(8):
        gradients = np.random.default_rng(seed).normal(size=(n_terms, 6))
        conflicts += int(np.sum(gradients @ gradients.T < 0.0))
        gradient, result = combined(PCGrad(), gradients)
        np.testing.assert_allclose(gradient, pcgrad_in_orders(gradients), rtol=1e-12, atol=1e-12)
        assert all(factor >= 1.0 for factor in result.factors.values())
        assert result.value == pytest.approx(sum((k + 1) * c for k, c in enumerate(result.factors.values())), rel=1e-13)
        # The order in which the terms are named does not matter.
        reversed_gradient, _ = combined(PCGrad(), gradients[::-1])
        np.testing.assert_allclose(reversed_gradient, gradient, rtol=1e-11, atol=1e-12)
    assert conflicts > 0 or n_terms == 1


def test_pcgrad_of_two_terms_does_harm_to_neither():
    first, second = np.array([1.0, 0.0, 0.0, 0.0]), np.array([-3.0, 1.0, 0.0, 2.0])
    gradient, _ = combined(PCGrad(), [first, second])
    assert first @ (first + second) < 0.0
    assert gradient @ first > 0.0
    assert gradient @ second > 0.0
    # Without a conflict it is the sum; a gradient of zero conflicts with nothing; opposite ones leave nothing.
    for other in (np.array([0.5, 1.0, 0.0, 0.0]), np.zeros(4)):
        gradient, result = combined(PCGrad(), [first, other])
        assert np.array_equal(gradient, first + other)
        assert set(result.factors.values()) == {1.0}
    gradient, _ = combined(PCGrad(), [first, -2.0 * first])
    assert np.array_equal(gradient, np.zeros(4))


@pytest.mark.wrong_types
def test_pcgrad_refuses_more_terms_than_it_can_order():
    with pytest.raises(ValueError, match="at most 8 terms are possible, not 9"):
        PCGrad().check([str(k) for k in range(9)])


def test_normalized_gives_each_term_its_weight():
    gradients = np.array([[3.0, 0.0, 4.0, 0.0], [0.0, 1e-3, 0.0, 0.0]])
    combination = Normalized(memory=0.5)
    state = combination.start(["term_0", "term_1"])
    gradient, result = combined(combination, gradients, state=state)
    np.testing.assert_allclose(np.linalg.norm(gradient[[0, 2]]), np.linalg.norm(gradient[[1, 3]]), rtol=1e-13)
    # The sum of the magnitudes is what it was.
    np.testing.assert_allclose(np.linalg.norm(gradient[[0, 2]]) * 2, 5.0 + 1e-3, rtol=1e-13)
    # The running mean: half of what was, half of what is.
    _, later = combined(combination, 3.0 * gradients, state=result.state)
    assert {name: float(mean) for name, mean in later.state.items()} == pytest.approx({"term_0": 10.0, "term_1": 2e-3})
    # A term that is where it should be does not divide by zero.
    gradient, result = combined(combination, gradients * [[1.0], [0.0]], state=state)
    assert result.factors["term_1"] == 0.0
    np.testing.assert_allclose(gradient, gradients[0], rtol=1e-13)
    # Its mean stays, so that it does not come back with a multiple of its share.
    _, there = combined(combination, gradients, state=state)
    _, gone = combined(combination, gradients * [[1.0], [0.0]], state=there.state)
    assert float(gone.state["term_1"]) == 1e-3
    _, nothing = combined(combination, 0.0 * gradients, state=there.state)
    assert set(nothing.factors.values()) == {0.0}
    # One term alone is left as it is.
    gradient, _ = combined(combination, gradients[:1], state=combination.start(["term_0"]))
    np.testing.assert_allclose(gradient, gradients[0], rtol=1e-13)


def test_normalized_by_losses():
    combination = Normalized(magnitude="loss")
    _, result = combined(combination, np.eye(2, 4), [1e-4, 7.0], combination.start(["term_0", "term_1"]))
    assert result.factors["term_0"] * 1e-4 == pytest.approx(result.factors["term_1"] * 7.0, rel=1e-13)
    assert result.value == pytest.approx(7.0 + 1e-4, rel=1e-13)


def test_the_running_magnitudes_pass_through_a_checkpoint():
    """Three steps with a checkpoint after the first give the numbers of three steps without."""
    gradients = np.random.default_rng(3).normal(size=(3, 4))
    combination = Normalized()
    start = combination.start([f"term_{k}" for k in range(3)])
    _, first = combined(combination, gradients, state=start)
    restored = unpack(pack(first.state), start)
    results = []
    for state in (first.state, restored):
        _, second = combined(combination, gradients**2, state=state)
        gradient, third = combined(combination, gradients**3, state=second.state)
        results.append((gradient.tolist(), third.factors, third.value, jax.tree.leaves(third.state)))
    assert results[0] == results[1]


@pytest.mark.slow
def test_a_resumed_run_has_the_same_magnitudes(tmp_path):
    """Interrupted between two checkpoints: the running magnitudes come from the last one."""
    whole = tmp_path / "whole"
    arguments = ["property=[pressure,energy_per_particle,coordination]", "terms.pressure.objective.target=0.4"]
    arguments += ["terms.coordination.objective.target=4"]
    arguments += ["terms.energy_per_particle.objective.target=-1", "combination=normalized", *SMALL]
    arguments += ["train.steps=5", "train.checkpoint_interval=2", f"hydra.run.dir={whole}"]
    assert cli.main(["train", *arguments]) == 0
    lines = metrics(whole)
    assert len({line["terms"]["pressure"]["factor"] for line in lines}) == 5
    part = tmp_path / "part"
    shutil.copytree(whole, part)
    (part / "result.json").unlink()
    (part / "metrics.jsonl").write_text("".join((part / "metrics.jsonl").read_text().splitlines(True)[:4]))
    assert cli.main(["resume", str(part)]) == 0
    assert [line | {"seconds": 0} for line in metrics(part)] == [line | {"seconds": 0} for line in lines]
