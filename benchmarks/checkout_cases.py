"""What `compare_checkouts.py` runs in both checkouts: commands with fixed seeds, each a matter of seconds."""

import abc
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from checkout import LONGEST, Checkout, Failure


class AbstractCase(abc.ABC):
    """Something to run in both checkouts, which leaves a folder of its name.

    - `of`: name of the case whose folder this one needs, or empty.
    - `compared`: whether AFTER runs it too; otherwise it only prepares a folder for others.
    """

    name: str
    of: str
    compared: ClassVar[bool]

    @abc.abstractmethod
    def run(self, checkout: Checkout, before: Checkout) -> None:
        """Run in a checkout; what others have left is that checkout's, or BEFORE's."""


@dataclass(frozen=True)
class Command(AbstractCase):
    """A command with its overrides.

    - `of`: the case whose folder is given as `run=…`.
    - `old`: both checkouts are given the folder that BEFORE wrote.
    """

    compared = True
    name: str
    arguments: tuple[str, ...]
    of: str = ""
    old: bool = False

    def run(self, checkout: Checkout, before: Checkout) -> None:
        arguments = [*self.arguments, f"hydra.run.dir={self.name}", f"hydra.sweep.dir={self.name}"]
        if self.old:
            # At the same relative place in both: the command may write down where it was.
            _copy(before.root / self.of, checkout.root / "old" / self.of)
        if self.of:
            arguments.append(f"run={'old/' if self.old else ''}{self.of}")
        checkout.run(self.name, arguments)


@dataclass(frozen=True)
class Interruption(AbstractCase):
    """A training that BEFORE is made to end by SIGTERM behind a few steps, after which it writes a checkpoint."""

    compared = False
    of = ""
    name: str
    arguments: tuple[str, ...]
    n_lines: int = 4

    def run(self, checkout: Checkout, before: Checkout) -> None:
        folder = checkout.root / self.name
        arguments = [*self.arguments, "train.steps=100000", f"hydra.run.dir={self.name}"]
        with checkout.started(self.name, arguments) as process:
            latest = time.monotonic() + LONGEST
            while process.poll() is None and time.monotonic() < latest:
                if _count_lines(folder / "metrics.jsonl") >= self.n_lines:
                    break
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
        if (folder / "result.json").exists() or not list((folder / "checkpoints").glob("*.ckpt")):
            raise Failure(f"failed in {checkout.title}: it was not interrupted behind a checkpoint")


@dataclass(frozen=True)
class Resumption(AbstractCase):
    """Going on with a copy of a training that was interrupted in BEFORE, for `n_steps` more."""

    compared = True
    name: str
    of: str
    n_steps: int = 4

    def run(self, checkout: Checkout, before: Checkout) -> None:
        folder = _copy(before.root / self.of, checkout.root / self.name)
        steps = _count_lines(folder / "metrics.jsonl") + self.n_steps
        checkout.run(self.name, ["resume", self.name, f"train.steps={steps}"])


@dataclass(frozen=True)
class ResumedValidation(AbstractCase):
    """Going on with a copy of a validation of BEFORE as a kill would have left it behind `n_lines` packings."""

    compared = True
    name: str
    of: str
    n_lines: int = 5

    def run(self, checkout: Checkout, before: Checkout) -> None:
        folder = _copy(before.root / self.of, checkout.root / self.name)
        (folder / "validation.json").unlink()
        lines = (folder / "configurations.jsonl").read_text().splitlines(keepends=True)
        (folder / "configurations.jsonl").write_text("".join(lines[: self.n_lines]))
        checkout.run(self.name, ["resume", self.name])


def _copy(source: Path, target: Path) -> Path:
    if not source.is_dir():
        raise Failure(f"{source}: the folder that this case needs is missing")
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(source, target)


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


ONE = ("devices=1",)
SMALL = (*ONE, "system.n_particles=128", "train.tolerance=0")
ENSEMBLE = (*ONE, "sampler.size=4", "train.steps=3")
ADAM = (
    "optimizer=adam",
    "schedule@optimizer.learning_rate=cosine_decay_schedule",
    "optimizer.learning_rate.init_value=2e-3",
    "optimizer.learning_rate.decay_steps=12",
)
TWO_TERMS = ("property=[poisson_ratio,pressure]", "terms.pressure.objective.target=0.3")
REFERENCES = ("2d_n368_sp2_a5", "3d_n256_sp2_a10")
PLANE, SPACE = (f"inputs/{name}.extxyz" for name in REFERENCES)
# What the JSON files beside the packings say.
PARAMETERS = ("potential.diameter=[0.8,1.0]", "potential.binding_energy=[0.1,0.1,0.1]", "potential.stiffness=5.0")


def _train(name: str, *arguments: str) -> Command:
    return Command(name, ("train", *arguments))


def _ensemble(name: str, experiment: str, *arguments: str) -> Command:
    return _train(name, f"experiment={experiment}", *ENSEMBLE, *arguments)


def _small(name: str, *arguments: str, steps: int = 4) -> Command:
    return _train(name, *SMALL, f"train.steps={steps}", *arguments)


def _relaxed(name: str, *arguments: str) -> Command:
    relaxed = ("measure", f"configuration={PLANE}", "relax=true", "gradient=true")
    return Command(name, (*relaxed, "property=[poisson_ratio,pressure]", *arguments))


CASES: tuple[AbstractCase, ...] = (
    # Presets
    _train("single_poisson", *ONE, "train.steps=20"),
    _train("single_poisson_seed", *ONE, "train.steps=6", "seed=5", "experiment=single_poisson_auxetic"),
    _train("short_range", *ONE, "train.steps=4", "experiment=short_range"),
    _train("many_species", *ONE, "train.steps=4", "experiment=many_species"),
    _train("three_dimensions", *ONE, "train.steps=3", "experiment=three_dimensions"),
    _train("multi_configuration", *ONE, "train.steps=5", "experiment=multi_configuration", "sampler.size=2"),
    _train("density_and_poisson", *ONE, "train.steps=6", "experiment=density_and_poisson"),
    _ensemble("ensemble_poisson", "ensemble_poisson"),
    _ensemble("quick_ensemble", "quick_ensemble"),
    _ensemble("poisson_and_pressure", "poisson_and_pressure"),
    _ensemble("pressure", "pressure"),
    _ensemble("q8", "q8"),
    _ensemble("robust", "robust"),
    # Devices, chunks, sweeps
    _ensemble("two_devices", "quick_ensemble", "devices=2"),
    _ensemble("chunks", "quick_ensemble", "chunk_size=2"),
    _small("sweep", "--multirun", "seed=1,2", steps=3),
    # Objectives and combinations
    _small(
        "band_and_maximize",
        "property=[bulk_modulus,pressure]",
        "objective@terms.bulk_modulus.objective=maximize",
        "objective@terms.pressure.objective=band",
        "terms.pressure.objective.upper=0.15",
        "terms.pressure.weight=100",
        "optimizer=rmsprop",
        "optimizer.learning_rate=1e-3",
    ),
    _small(
        "minimize",
        "property=[stability]",
        "objective@terms.stability.objective=minimize",
        "optimizer=sgd",
        "optimizer.learning_rate=1e-3",
    ),
    _small(
        "curve",
        "property=[structure_factor]",
        "terms.structure_factor.property.n_shells=4",
        "objective@terms.structure_factor.objective=curve",
        "terms.structure_factor.objective.target=[0.02,0.02,0.03,0.03]",
        "terms.structure_factor.objective.weights=[1,1,0.5,0]",
    ),
    _small(
        "ratio_of_means",
        "property=[pair]",
        "quantity@terms.pair.property.first=elastic_constant",
        "terms.pair.property.first.component=xyxy",
        "quantity@terms.pair.property.second=bulk_modulus",
        "objective@terms.pair.objective=ratio",
        "terms.pair.objective.target=0.3",
        "sampler=fresh",
        "sampler.size=3",
        "optimizer=rmsprop",
        "optimizer.learning_rate=1e-3",
    ),
    _small(
        "property_twice",
        "property=[bond_order]",
        "terms.bond_order.objective.target=0.4",
        "+property@terms.eightfold=bond_order",
        "terms.eightfold.property.symmetry=8",
        "terms.eightfold.objective.target=0.3",
        "terms.eightfold.scale=0.5",
    ),
    _small("normalized", *TWO_TERMS, "combination=normalized", "sampler.size=2"),
    _small("pcgrad", *TWO_TERMS, "combination=pcgrad", "terms.pressure.weight=10", "optimizer=adam"),
    # Optimizers
    _small("polyak", "optimizer=polyak", "optimizer.learning_rate=1e-2", "optimizer.floor=0.1", steps=8),
    _small("adam_on_a_schedule", *ADAM, "sampler=fresh", "sampler.size=3", "train.clip=1"),
    _small("hypergradient", "optimizer=hypergradient", steps=8),
    # Protocols
    _small("fire", "protocol.method=fire"),
    _small("matrix_free", "protocol.hessian=matrix_free"),
    _ensemble("elastic", "quick_ensemble", "protocol.stability=elastic", "system.n_particles=64"),
    # Potentials
    _train(
        "spring_network",
        *ONE,
        "potential=harmonic_spring_network",
        f"potential.packing={PLANE}",
        "potential.rest_ratio=0.97",
        "design.stiffness=[0.01,10]",
        "terms.poisson_ratio.objective.target=0.1",
        "train.steps=5",
    ),
    _small("lennard_jones", "potential=lennard_jones", "system.density=1.2"),
    _small("inverse_power", "potential=inverse_power"),
    _relaxed("potentials", "--multirun", "potential=soft_sphere,morse,yukawa"),
    _relaxed("jax_md", "potential=jax_md", "potential.function=soft_sphere"),
    _relaxed(
        "sum",
        "potential=sum",
        "potential@potential.first=harmonic_morse",
        "potential@potential.second=yukawa",
        "potential.second.binding_energy=0.05",
    ),
    # Measurements
    Command("measure_plane", ("measure", f"configuration={PLANE}", "gradient=true", *PARAMETERS)),
    Command(
        "measure_space",
        (
            "measure",
            f"configuration={SPACE}",
            "gradient=true",
            "property=[poisson_ratio,pressure,elastic_tensor,bond_order]",
            *PARAMETERS,
            "potential.inverse_range=10",
        ),
    ),
    _relaxed("measure_relaxed", "potential.inverse_range=6", "potential.diameter=[0.78,1.0]"),
    # Validations
    Command(
        "validate",
        ("validate", *ONE, "n_configurations=8", "n_untrained=4", "property=[bulk_modulus,q8]"),
        of="quick_ensemble",
    ),
    Command(
        "validate_larger",
        ("validate", *ONE, "n_configurations=3", "n_untrained=0", "system.n_particles=200"),
        of="single_poisson",
    ),
    # Analyses
    Command("analyse_packing", ("analyse", *ONE, f"configuration={PLANE}", *TWO_TERMS)),
    Command(
        "analyse_space",
        ("analyse", *ONE, f"configuration={SPACE}", "potential.inverse_range=10", "parts=[bonds,vibrations]"),
    ),
    Command("analyse_run", ("analyse", *ONE, "n_configurations=4"), of="quick_ensemble"),
    Command(
        "analyse_experiment",
        (
            "analyse",
            *ONE,
            "experiment=poisson_and_pressure",
            "system.n_particles=128",
            "n_configurations=4",
            "average=clipped",
            "property_scale=standard_deviation",
            "parts=[tunability]",
        ),
    ),
    # What BEFORE has written, in the hands of both
    Interruption("interrupted_tracked", ("train", *SMALL, "sampler.size=2", "optimizer=polyak")),
    Interruption("interrupted_fresh", ("train", *SMALL, "sampler=fresh", "sampler.size=3", "train.clip=1", *ADAM)),
    Resumption("resume_tracked", "interrupted_tracked"),
    Resumption("resume_fresh", "interrupted_fresh"),
    ResumedValidation("resume_validation", "validate"),
    Command(
        "validate_old",
        ("validate", *ONE, "n_configurations=4", "n_untrained=2", "system.n_particles=128"),
        of="single_poisson",
        old=True,
    ),
    Command(
        "validate_old_interrupted",
        ("validate", *ONE, "n_configurations=4", "n_untrained=2"),
        of="interrupted_fresh",
        old=True,
    ),
    Command("analyse_old", ("analyse", *ONE, "parts=[tunability,predictiveness]"), of="single_poisson", old=True),
)


def select(names: Sequence[str]) -> list[AbstractCase]:
    """The cases of these names, or all, and those whose folders they need, in order."""
    by_name = {case.name: case for case in CASES}
    wanted = list(names) or list(by_name)
    for name in wanted:  # grows as it goes
        if by_name[name].of and by_name[name].of not in wanted:
            wanted.append(by_name[name].of)
    return [case for case in CASES if case.name in wanted]


def dependents(name: str) -> list[str]:
    """Names of the cases that have used the folder of this one, at first or at second hand."""
    direct = [case.name for case in CASES if case.of == name]
    return [*direct, *(other for case in direct for other in dependents(case))]
