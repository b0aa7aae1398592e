"""How the gradient in a design variable is obtained: exactly, or by an estimator where a packing has no derivative.

After its last quench a packing depends on a temperature or an amplitude through the choice of its basin only, and on
the fractions of its species through what was drawn. Neither has a derivative for a single packing; means over packings
have one. `estimation` computes it.
"""

import dataclasses
from collections.abc import Collection
from typing import Literal, NotRequired, TypedDict, get_args

import jax
import numpy as np
from jaxtyping import ArrayLike

from .._errors import RequestError, suggestion
from ..components.treatment import AbstractTreatment
from .model import Model

EstimatorName = Literal["exact", "evolution", "score", "differences"]
NAMES: tuple[EstimatorName, ...] = get_args(EstimatorName)
# The fractions of species, which add up to one.
COMPOSITION = "system.composition"
# The default width of a pair, by the estimator: the standard deviation, or the length, of a change of the logarithm.
WIDTHS = {"evolution": 0.1, "differences": 0.1}


@dataclasses.dataclass(frozen=True)
class Variable:
    """A design variable, where more is said of it than its bounds.

    **Arguments:**

    - `bounds`: lower and upper bound.
    - `estimator`: how its gradient is obtained, `exact`, `evolution`, `score` or `differences`; None chooses by what
      the variable is.
    - `width`: how far the members of a pair are from the design, relative to it; for `evolution` the standard deviation
      of the logarithm. None is 0.1.
    """

    bounds: tuple[float, float]
    estimator: str | None = None
    width: float | None = None


@dataclasses.dataclass(frozen=True)
class Estimator:
    """How the gradient in one design variable is obtained.

    **Attributes:**

    - `name`: `exact`, by the derivative that the protocol attaches; `evolution`, by pairs of packings with random
      changes of the variable in opposite directions; `score`, by the score function of what is drawn; `differences`, by
      a pair of packings for each number.
    - `width`: of pairs; None where there are none.
    - `in_logarithm`: whether gradient and steps are those of the logarithm of the variable.
    """

    name: EstimatorName = "exact"
    width: float | None = None
    in_logarithm: bool = False


EXACT = Estimator()


class GradientReport(TypedDict):
    """How the gradient in a design variable was obtained, and how far it stands out from its own noise.

    `signal_to_noise` is that of the slope: the noise of the distance from a target, common to all variables, is not in
    it.
    `pair_correlation`, by term, is what common random numbers gain: the difference of a pair has the variance of two
    independent packings times one minus it.
    """

    estimator: str
    width: NotRequired[float]
    signal_to_noise: float | None
    pair_correlation: NotRequired[dict[str, float | None]]


def choose_estimator(key: str, path: str, treated: Collection[str], value: ArrayLike, wanted: Variable) -> Estimator:
    """The estimator of a design variable; one that it cannot have is a `RequestError`.

    **Arguments:**

    - `key`: the key of the design, for messages.
    - `path`: the full dotted path of the variable.
    - `treated`: the paths of all parameters of treatments.
    - `value`: where the variable starts.
    """
    is_treatment, is_composition = path in treated, path == COMPOSITION
    if is_composition and np.size(value) < 2:
        raise RequestError(f"design.{key}: there is a single species, whose fraction is one")
    possible: tuple[EstimatorName, ...] = ("exact", "evolution", "differences")
    if is_treatment:
        possible = ("evolution", "differences")
    elif is_composition:
        possible = ("score", "evolution", "differences")
    name = possible[0] if wanted.estimator is None else wanted.estimator
    if name not in NAMES:
        raise RequestError(f"design.{key}.estimator={name}: {suggestion(str(name), NAMES)}")
    if name not in possible:
        why = "has an exact gradient"
        if is_treatment:
            why = "changes a packing by the choice of its basin only, which has no derivative"
        elif is_composition:
            why = "changes a packing by what is drawn only, which has no derivative"
        raise RequestError(f"design.{key}.estimator={name}: {path} {why}; possible: {', '.join(possible)}")
    if name not in WIDTHS:
        if wanted.width is not None:
            raise RequestError(f"design.{key}.width={wanted.width:g}: the estimator {name} has no pairs; leave it out")
        return Estimator(name)
    width = WIDTHS[name] if wanted.width is None else wanted.width
    if not 0.0 < width < 1.0:
        raise RequestError(f"design.{key}.width={width:g}: must be between 0 and 1")
    in_logarithm = is_treatment or name == "evolution"
    _check_start(key, value, in_logarithm)
    return Estimator(name, width, in_logarithm)


def _check_start(key: str, value: ArrayLike, in_logarithm: bool) -> None:
    numbers = np.asarray(value)
    given = f"design.{key}: starts at {numbers.tolist()}"
    if not np.any(numbers):
        raise RequestError(f"{given}, which has no scale: pairs of packings change it in proportion")
    if in_logarithm and np.any(numbers < 0.0):
        raise RequestError(f"{given}: it changes in proportion, so it must not be negative")


def treatment_paths(model: Model) -> frozenset[str]:
    """The dotted paths of everything that belongs to a treatment."""
    paths = []
    nodes = jax.tree_util.tree_leaves_with_path(model, is_leaf=lambda node: isinstance(node, AbstractTreatment))
    for path, node in nodes:
        if isinstance(node, AbstractTreatment):
            leaves = jax.tree_util.tree_leaves_with_path(node)
            paths += [jax.tree_util.keystr((*path, *rest), simple=True, separator=".") for rest, _ in leaves]
    return frozenset(paths)
