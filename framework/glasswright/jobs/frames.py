"""Means and standard errors over the reports on several packings of one file."""

from collections.abc import Mapping, Sequence

import numpy as np

from .._types import JSON
from ..evaluation.statistics import standard_error

# Directions have an arbitrary sign, and lists of the largest have other members for each packing: no means of these.
_WITHOUT_MEAN = ("property_directions", "design_directions", "largest")


def mean_and_error(reports: Sequence[Mapping[str, JSON]]) -> tuple[dict[str, JSON], dict[str, JSON]]:
    """The mean and the standard error of every number that all reports have, in dictionaries of their structure.

    Arrays count where they have the same shape in all reports.
    """
    means: dict[str, JSON] = {}
    errors: dict[str, JSON] = {}
    for name in reports[0]:
        values = [report[name] for report in reports if name in report]
        if name in _WITHOUT_MEAN or len(values) < len(reports):
            continue
        if all(isinstance(value, Mapping) for value in values):
            inner = mean_and_error(values)
            if inner[0]:
                means[name], errors[name] = inner
            continue
        numbers = _numbers(values)
        if numbers is not None:
            error = standard_error(numbers)
            means[name] = np.mean(numbers, axis=0).tolist()
            errors[name] = None if error is None else error.tolist()
    return means, errors


def _numbers(values: Sequence[object]) -> np.ndarray | None:
    """The values as an array with a leading axis over reports; None if they are no numbers, or not of one shape."""
    try:
        arrays = [np.asarray(value) for value in values]
    except ValueError:  # nested lists of unequal lengths
        return None
    usable = all(array.dtype.kind in "fiu" and array.size for array in arrays)
    return np.stack(arrays).astype(float) if usable and len({array.shape for array in arrays}) == 1 else None
