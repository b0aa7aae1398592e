import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._errors import RunError, Stopped
from ..components.objective import AbstractObjective, Term
from ..components.sampler import AbstractSampler
from ..evaluation.design import Design
from ..evaluation.ensemble import VALIDATION, Ensemble
from ..evaluation.measurement import Sample
from ..evaluation.problem import Model, Problem
from ..evaluation.statistics import count_rejected, describe_rejected, standard_error
from ..execution.executor import Executor
from ..execution.signals import Terminated
from ..run.directory import append_line, read_lines, start_folder, write_atomically, write_json
from ..run.progress import CountProgress, Silent

# Before so many configurations a share of rejected ones says little.
LEAST_FOR_A_SHARE = 50


class Unjudged(AbstractObjective):
    """Nothing is wanted: the property is only measured."""

    def loss(self, values, accepted, sampling):
        """Zero."""
        return jnp.zeros(())


class Everything(AbstractSampler):
    """All configurations of a validation: losses are those of their means, nothing is estimated from less."""

    size: int
    is_population = True

    def indices(self, step):
        """All of them."""
        return range(self.size)


@dataclasses.dataclass(frozen=True)
class Validation:
    """What is to be validated.

    **Arguments:**

    - `models`: the model of each ensemble by name: `trained`, and `untrained` to compare with.
    - `numbers`: how many configurations of each.
    - `terms`: what is measured, and what was wanted of it (`Unjudged`: nothing).
    - `design`, `seed`: of the training; its configurations are not used again.
    - `rejection_limit`: largest share of rejected configurations.
    - `devices`, `chunk_size`: as in a training.
    - `config`: the resolved configuration this was built from, kept with the results.
    """

    models: Mapping[str, Model]
    numbers: Mapping[str, int]
    terms: Mapping[str, Term]
    design: Design
    seed: int = 0
    rejection_limit: float = 0.5
    devices: int | None = None
    chunk_size: int | None = None
    config: Any = None


def validate(
    request: Validation, directory: str | Path | None = None, *, progress: bool = True, resume: bool = False
) -> dict[str, Any]:
    """Measure fresh packings that no training has seen; returns what `validation.json` holds.

    Every configuration is a line of `configurations.jsonl`; with `resume`, those found there are not prepared again.
    """
    folder = None if directory is None else Path(directory)
    with Executor(request.devices) as executor:
        if folder is not None and executor.rank == 0:
            # What an earlier validation left here would be taken for this one's.
            start_folder(folder, request.config, () if resume else ("configurations.jsonl", "validation.json"))
        known = {} if folder is None else _known(folder)
        lines: dict[str, list[dict[str, Any]]] = {}
        total = sum(request.numbers.values())
        with (
            CountProgress("validate", total) if progress and executor.rank == 0 else Silent() as bar,
            Terminated() as stop,
        ):
            for name, model in request.models.items():
                lines[name] = [known[name, k] for k in range(request.numbers[name]) if (name, k) in known]
                bar.advance(len(lines[name]))
                problem = Problem(model, request.design, dict(request.terms))
                ensemble = Ensemble(
                    problem, request.seed, stream=VALIDATION, gradients=False, chunk_size=request.chunk_size
                )
                missing = [k for k in range(request.numbers[name]) if (name, k) not in known]
                values = problem.initial_values
                for samples in ensemble.rounds(executor, values, missing):
                    for one in samples:
                        line = _line(name, one)
                        lines[name].append(line)
                        if folder is not None and executor.rank == 0:
                            append_line(folder / "configurations.jsonl", line)
                    bar.advance(len(samples))
                    bar.describe(_describe(name, lines[name]))
                    _check_rejections(request, name, lines[name])
                    if executor.any_process(stop.requested):
                        hint = "" if folder is None else f"; go on with: glasswright resume {folder}"
                        raise Stopped(f"stopped by SIGTERM after {sum(map(len, lines.values()))} configurations{hint}")
        # In the order of the indices, whatever an interruption made of it.
        ordered = {name: sorted(some, key=lambda line: line["index"]) for name, some in lines.items()}
        reports = {name: _report(request.terms, some) for name, some in ordered.items()}
        report = reports.pop("trained") | reports
        if folder is not None and executor.rank == 0:
            from ..plots.validation import validation_figure

            write_atomically(folder / "validation.png", validation_figure(ordered, request.terms))
            write_json(folder / "validation.json", report)
        return report


def _known(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The configurations that an interrupted validation has left, without a line that was cut short."""
    path = folder / "configurations.jsonl"
    lines = read_lines(path)
    if path.exists():
        write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines))
    return {(line["ensemble"], line["index"]): line for line in lines}


def _line(ensemble: str, one: Sample) -> dict[str, Any]:
    values = None if one.measured is None else {name: value.tolist() for name, value in one.measured.values.items()}
    return {"ensemble": ensemble, "index": one.index, "outcome": one.outcome.name, "values": values}


def _check_rejections(request: Validation, ensemble: str, lines: list[dict[str, Any]]) -> None:
    rejected = count_rejected(line["outcome"] for line in lines)
    total = sum(rejected.values())
    if len(lines) >= LEAST_FOR_A_SHARE and total > request.rejection_limit * len(lines):
        raise RunError(
            f"{total} of {len(lines)} {ensemble} configurations were rejected ({describe_rejected(rejected)}), more "
            f"than the share of {request.rejection_limit:g} that train.rejection_limit allows"
        )


def _describe(ensemble: str, lines: list[dict[str, Any]]) -> str:
    parts = [ensemble]
    accepted = [line["values"] for line in lines if line["values"] is not None]
    for name, value in (accepted[0] if accepted else {}).items():
        if isinstance(value, float):
            parts.append(f"{name} {np.mean([values[name] for values in accepted]):.5f}")
    parts += [f"{count} {name}" for name, count in count_rejected(line["outcome"] for line in lines).items()]
    return "  ".join(parts)


def _report(terms: Mapping[str, Term], lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean, standard error and standard deviation of each property, losses with their floors, and the counts."""
    accepted = np.array([line["values"] is not None for line in lines], dtype=bool)
    rejected = count_rejected(line["outcome"] for line in lines)
    report: dict[str, Any] = {
        "properties": {},
        "loss": None,
        "loss_floor": None,
        "requested": len(lines),
        "converged": int(np.sum(accepted)),
        "rejected": rejected,
    }
    if not np.any(accepted):
        return report
    judged = {name: term for name, term in terms.items() if not isinstance(term.objective, Unjudged)}
    loss, floor = (0.0 if judged else None), (0.0 if judged else None)
    for name, term in terms.items():
        values = np.array([line["values"][name] for line in lines if line["values"] is not None], dtype=float)
        error = standard_error(values)
        entry: dict[str, Any] = {
            "mean": np.mean(values, axis=0).tolist(),
            "standard_error": None if error is None else error.tolist(),
            "standard_deviation": None if error is None else np.std(values, axis=0, ddof=1).tolist(),
            # Beside a mean that a single packing without resistance to shear can move, one that it cannot.
            "median": np.median(values, axis=0).tolist(),
        }
        if name in judged:
            everything = jnp.ones(len(values), dtype=bool)
            sampling = Everything(len(values))
            entry["loss"] = float(term.objective.loss(jnp.asarray(values), everything, sampling))
            known = term.objective.floor(jnp.asarray(values), everything, sampling)
            entry["loss_floor"] = None if known is None else float(known)
            loss = None if loss is None else loss + float(term.share) * entry["loss"]
            floor = None if floor is None or known is None else floor + float(term.share) * float(known)
        report["properties"][name] = entry
    return report | {"loss": loss, "loss_floor": floor}
