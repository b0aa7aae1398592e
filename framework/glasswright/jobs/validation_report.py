"""The report of a validation: means, errors and losses of fresh packings that no training has seen."""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import jax.numpy as jnp
import numpy as np

from .._types import Numbers
from ..components.objective import NoObjective, Term
from ..components.sampler import AbstractSampler
from ..evaluation.statistics import count_rejected, standard_error


class WholePopulation(AbstractSampler):
    """All configurations of a validation: losses are those of their means, nothing is estimated from fewer."""

    size: int
    is_population = True

    def indices(self, step: int) -> Sequence[int]:
        """All of them."""
        return range(self.size)


class ConfigurationLine(TypedDict):
    """One line of `configurations.jsonl`; `values` are numbers or nested lists by property, None if rejected."""

    ensemble: str
    index: int
    outcome: str
    values: dict[str, Numbers] | None


class PropertySummary(TypedDict):
    """Statistics of a property over the accepted configurations: numbers or nested lists of numbers."""

    mean: Numbers
    standard_error: Numbers | None
    standard_deviation: Numbers | None
    median: Numbers
    loss: NotRequired[float]
    loss_floor: NotRequired[float | None]


class EnsembleReport(TypedDict):
    """What is reported of one ensemble."""

    properties: dict[str, PropertySummary]
    loss: float | None
    loss_floor: float | None
    requested: int
    converged: int
    rejected: dict[str, int]


class ValidationReport(EnsembleReport):
    """The content of `validation.json`: the trained ensemble and, to compare with, the untrained one."""

    untrained: NotRequired[EnsembleReport]


def report_ensemble(terms: Mapping[str, Term], lines: Sequence[ConfigurationLine]) -> EnsembleReport:
    """Statistics of each property, losses with their sampling floors, and the counts."""
    accepted = [line["values"] for line in lines if line["values"] is not None]
    report: EnsembleReport = {
        "properties": {},
        "loss": None,
        "loss_floor": None,
        "requested": len(lines),
        "converged": len(accepted),
        "rejected": count_rejected(line["outcome"] for line in lines),
    }
    if not accepted:
        return report
    has_loss = any(_has_loss(term) for term in terms.values())
    loss, floor = (0.0 if has_loss else None), (0.0 if has_loss else None)
    for name, term in terms.items():
        values = np.array([of_line[name] for of_line in accepted], dtype=float)
        summary = _summarise(values)
        if _has_loss(term):
            everything, sampler = jnp.ones(len(values), dtype=bool), WholePopulation(len(values))
            term_loss = float(term.objective.loss(jnp.asarray(values), everything, sampler))
            known = term.objective.floor(jnp.asarray(values), everything, sampler)
            term_floor = None if known is None else float(known)
            summary["loss"], summary["loss_floor"] = term_loss, term_floor
            loss = None if loss is None else loss + float(term.share) * term_loss
            floor = None if floor is None or term_floor is None else floor + float(term.share) * term_floor
        report["properties"][name] = summary
    report["loss"], report["loss_floor"] = loss, floor
    return report


def _has_loss(term: Term) -> bool:
    return not isinstance(term.objective, NoObjective)


def _summarise(values: np.ndarray) -> PropertySummary:
    error = standard_error(values)
    return {
        "mean": np.mean(values, axis=0).tolist(),
        "standard_error": None if error is None else error.tolist(),
        "standard_deviation": None if error is None else np.std(values, axis=0, ddof=1).tolist(),
        # A single packing without resistance to shear can move the mean, but not the median.
        "median": np.median(values, axis=0).tolist(),
    }
