"""The page on composing objectives: its commands run, and what it says is refused is refused."""

import json
import re
import shlex
from pathlib import Path

import glasswright as gw
import pytest
from glasswright import cli
from glasswright.commands.compose import compose, start
from glasswright.commands.train import build
from glasswright.config.instantiate import instantiate
from glasswright.registry import Component, registry
from helpers import ROOT, component
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

PAGE = ROOT / "docs" / "composing.md"
COMMANDS = re.findall(r"^\$ (glasswright .*)$", re.sub(r"\\\n\s*", "", PAGE.read_text()), re.MULTILINE)
SMALL = ["system.n_particles=64", "train.steps=2", "train.tolerance=0", "devices=1"]
# Run by default; the others take longer together, and only differ in which names they compose, which test_docs checks.
QUICK = ("pair_correlation.csv",)
WeightedSum = component("combination", "weighted_sum")


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=() if any(text in command for text in QUICK) else pytest.mark.slow)
        for command in COMMANDS
    ],
)
def test_commands_of_the_page_run(command, tmp_path, monkeypatch):
    (tmp_path / "pair_correlation.csv").write_text("# distance, value\n" + "1.0\n" * 50)
    monkeypatch.chdir(tmp_path)
    _, _, *arguments = shlex.split(command)
    folder = tmp_path / "run"
    assert cli.main(["train", *arguments, *SMALL, f"hydra.run.dir={folder}", f"hydra.sweep.dir={folder}"]) == 0
    runs = sorted(path for path in folder.iterdir() if path.is_dir()) if "--multirun" in command else [folder]
    assert len(runs) == (2 if "--multirun" in command else 1)
    losses = []
    for run in runs:
        result, lines = json.loads((run / "result.json").read_text()), metrics(run)
        assert result["steps"] == len(lines) == 2
        assert result["success"] is (None if "maximize" in command else False)
        assert lines[0]["converged"] == lines[0]["requested"]
        assert lines[0]["design"] != lines[1]["design"]
        saved = OmegaConf.load(run / "config.yaml")
        shares = {name: term.weight / term.scale**2 for name, term in saved.terms.items()}
        for line in lines:
            total = sum(shares[name] * term["loss"] for name, term in line["terms"].items())
            assert line["loss"] == pytest.approx(total, rel=1e-12)
            assert all(term["factor"] >= 0.0 for term in line["terms"].values())
        if "pair_correlation" in saved.terms:
            # The numbers, and not the name of the file.
            assert list(saved.terms.pair_correlation.objective.target) == [1.0] * 50
        losses.append([line["loss"] for line in lines])
    assert len({tuple(history) for history in losses}) == len(runs)


def test_the_page_has_what_it_promises():
    text = " ".join(COMMANDS)
    for part in (
        "--multirun",
        "=curve",
        "=ratio",
        "combination=normalized",
        "combination=pcgrad",
        ".scale=",
        "weight=",
    ):
        assert part in text
    assert sum(any(text in command for text in QUICK) for command in COMMANDS) == len(QUICK)


class Frozen(gw.AbstractProtocol):
    """Particles stay where they were thrown: a state that is no minimum, and has no Hessian."""

    def prepare(self, potential, start, *, key):
        return gw.Prepared(start, gw.Outcome.converged)

    def attach(self, potential, prepared):
        raise NotImplementedError


@pytest.fixture(scope="module")
def hydra():
    with pytest.MonkeyPatch.context() as patch:
        frozen = Component("protocol", "frozen", Frozen, "tests", "0", "tests")
        patch.setitem(registry()._components["protocol"], "frozen", frozen)
        yield start("train")
    GlobalHydra.instance().clear()


CURVE = "property=[pair_correlation] objective@terms.pair_correlation.objective=curve"
PAIR = "property=[pair] objective@terms.pair.objective=ratio terms.pair.objective.target=1"
REFUSED = [
    (
        "protocol=frozen",
        "terms.poisson_ratio.property: PoissonRatio needs a state of type Equilibrium, but the protocol",
    ),
    (
        "protocol=frozen property=[ratio] terms.ratio.objective.target=1 "
        "quantity@terms.ratio.property.numerator=pressure",
        "terms.ratio.property: Ratio needs a state of type Equilibrium, but the protocol Frozen provides State",
    ),
    (
        "property=[elastic_constant] terms.elastic_constant.objective.target=1 "
        "terms.elastic_constant.property.component=xzxz",
        "terms.elastic_constant.property: elastic_constant(component=xzxz): there is no z in two dimensions",
    ),
    (
        "terms.poisson_ratio.objective.target=[0.1,0.2]",
        "terms.poisson_ratio.objective: target(target=…): has 2 numbers, and PoissonRatio measures a single number",
    ),
    (
        "objective@terms.poisson_ratio.objective=target_each terms.poisson_ratio.objective.target=[0.1,0.2]",
        "terms.poisson_ratio.objective: target_each(target=…): has 2 numbers",
    ),
    (
        "property=[elastic_tensor] terms.elastic_tensor.objective.target=[1,2,3]",
        "has 3 numbers, and ElasticTensor measures 2 x 2 x 2 x 2 numbers",
    ),
    (f"{CURVE} terms.pair_correlation.objective.target=[1,2,3]", "has 3 numbers, and PairCorrelation measures 50"),
    (
        f"{CURVE} terms.pair_correlation.property.n_bins=2 terms.pair_correlation.objective.target=[1,2] "
        "terms.pair_correlation.objective.weights=[1,2,3]",
        "curve(weights=…): has 3 numbers",
    ),
    (f"{CURVE} terms.pair_correlation.objective.target=missing.csv", "missing.csv: cannot be read: No such file"),
    (
        f"{CURVE} terms.pair_correlation.objective.target=1",
        "terms.pair_correlation.objective.target: curve(target=1.0)",
    ),
    (
        "objective@terms.poisson_ratio.objective=curve terms.poisson_ratio.objective.target=[1]",
        "measures a single number, not a curve",
    ),
    (
        "objective@terms.poisson_ratio.objective=ratio terms.poisson_ratio.objective.target=1",
        "ratio: needs two numbers of each packing, and PoissonRatio measures a single number; take the property pair",
    ),
    (f"{PAIR} quantity@terms.pair.property.first=elastic_tensor", "ElasticTensor measures an array"),
    (f"{PAIR} sampler=fresh sampler.size=1 optimizer=adam", "needs sampler.size >= 2, not 1"),
    (f"{PAIR} terms.pair.property.first=null", "terms.pair.property.first=null: must be a property; choose quantity@"),
    (f"{PAIR} quantity@terms.pair.property.first=shear_modulu", "did you mean 'shear_modulus'?"),
    ("objective@terms.poisson_ratio.objective=maximize", "terms.poisson_ratio (Maximize) has no least value"),
    ("terms.poisson_ratio.scale=0", "terms.poisson_ratio.scale=0: must be positive"),
    ("combination=pcgard", "no such combination; did you mean 'pcgrad'?"),
    ("combination=normalized combination.memory=1", "combination.memory: normalized(memory=1.0): must be at least 0"),
]


@pytest.mark.wrong_types
@pytest.mark.parametrize(("overrides", "message"), REFUSED, ids=[case[0] for case in REFUSED])
def test_bad_combinations_are_refused_at_composition(hydra, overrides, message):
    with pytest.raises(gw.RequestError) as raised:
        build(compose("train", overrides.split(" "), instance=hydra))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_bond_order_is_defined_in_three_dimensions(hydra):
    overrides = ["property=[q8]", "terms.q8.objective.target=0.3", "system.dimension=3", "system.n_particles=1024"]
    assert build(compose("train", [*overrides, "potential.inverse_range=10"], instance=hydra)).terms


def test_a_configuration_from_before_has_the_weighted_sum(hydra):
    experiment = build(compose("train", [], instance=hydra))
    assert isinstance(experiment.combination, WeightedSum)
    saved = OmegaConf.create(experiment.config)
    saved.pop("combination")
    saved.terms.poisson_ratio.pop("scale")
    again = build(saved)
    assert again.combination is None
    assert again.terms["poisson_ratio"].share == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1\n2.5 # a comment\n\n3e-1\n", [1.0, 2.5, 0.3]),
        ("0.5, 1\n1.5,\t2\n", [[0.5, 1.0], [1.5, 2.0]]),
        ("r g\n1 2\n", "must be lines of numbers"),
        ("1 2\n3\n", "must be lines of numbers"),
        ("# nothing\n", "there are no numbers in it"),
        ("1\nnan\n", "must be a finite number"),
    ],
)
def test_numbers_from_a_file(tmp_path, text, expected):
    path = tmp_path / "numbers.csv"
    path.write_text(text)
    node = {"_target_": "glasswright_plugins.objectives.target.Target", "target": str(path)}
    if isinstance(expected, str):
        with pytest.raises(gw.RequestError, match=expected) as raised:
            instantiate("objective", node, "terms.x.objective", {})
        assert str(raised.value).startswith("terms.x.objective.target")
        return
    assert instantiate("objective", node, "terms.x.objective", {}).target.tolist() == expected
    assert node["target"] == expected
