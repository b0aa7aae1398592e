"""Which changes of the properties a design can make to first order, and at what cost: before any training.

The scaled Jacobian `J_fd = (s_d / s_f) df/dd` has the singular value decomposition `J = sum_k sigma_k u_k v_k^T`. A
step of the design by `v_k / sigma_k` changes the properties by `u_k`; no shorter one does. Lengths are those of scaled
vectors: a property counts in units of its scale `s_f`, a design variable in units of `s_d`.

Source: that the singular values of the Jacobian of all properties in all interactions say what can be tuned is due to
M. Zu, A. Desai and C. P. Goodrich, Phys. Rev. Lett. 134, 238201 (2025).
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import TypedDict

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._errors import RequestError, RunError, suggestion
from ..components.objective import Term
from ..components.property import AbstractProperty
from ..evaluation.clipping import clipping_factors
from ..evaluation.design import Design, DesignValues
from ..evaluation.measurement import Sample
from ..evaluation.statistics import count_rejected, describe_rejected, standard_error
from ..physics.state import State

# A property is zero but for rounding if its mean is below this share of the changes that the design makes.
ROUNDING = 1e-12
# Singular values below this share of the largest are rounding: such a direction cannot be reached at all.
UNREACHABLE = 1e-10
AVERAGES = ("mean", "clipped", "median")
# Most entries of one array property: each is differentiated by itself.
MOST_ENTRIES = 100


class Entry(AbstractProperty):
    """One entry of a property that is an array, as a number of its own."""

    property: AbstractProperty
    index: tuple[int, ...] = eqx.field(static=True)

    def measure(self, state: State) -> Float[Array, ""]:
        """`f[index]` of the array `f`."""
        entry: Float[Array, ""] = jnp.asarray(self.property.measure(state))[self.index]
        return entry


def scalar_terms(terms: Mapping[str, Term], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Term]:
    """The terms, with an array property replaced by its entries, named `elastic_tensor[0,0,1,1]`."""
    result = {}
    for name, term in terms.items():
        shape = shapes[name]
        if not shape:
            result[name] = term
            continue
        if int(np.prod(shape)) > MOST_ENTRIES:
            raise RequestError(
                f"terms.{name}: has {int(np.prod(shape))} entries, and an analysis differentiates each by itself: at "
                f"most {MOST_ENTRIES} are possible; choose a property for the entries that matter"
            )
        for index in itertools.product(*map(range, shape)):
            label = f"{name}[{','.join(map(str, index))}]"
            result[label] = dataclasses.replace(term, property=Entry(term.property, index))
    return result


def columns_of(design: Design, values: DesignValues) -> list[str]:
    """A name for each number of the design, in the order of the Jacobian's columns: `diameter[0]`."""
    return [
        name if np.ndim(values[name]) == 0 else f"{name}[{','.join(map(str, index))}]"
        for name in design.names
        for index in np.ndindex(np.shape(values[name]))
    ]


def flatten(design: Design, values: DesignValues) -> np.ndarray:
    """The numbers of the design (or of a gradient) in the order of the Jacobian's columns."""
    return np.concatenate([np.ravel(np.asarray(values[name], dtype=float)) for name in design.names])


def unflatten(design: Design, like: DesignValues, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """The inverse of `flatten`."""
    result, start = {}, 0
    for name in design.names:
        shape = np.shape(like[name])
        size = int(np.prod(shape))
        result[name] = np.asarray(numbers[start : start + size]).reshape(shape)
        start += size
    return result


def design_scale(design: Design, values: DesignValues, kind: str) -> np.ndarray:
    """What a design variable is measured in, by columns.

    **Arguments:**

    - `kind`: `magnitude` (the root mean square of the numbers of each variable) or `bounds` (upper minus lower bound).
    """
    scales = []
    for name, lower, upper in zip(design.names, design.lower, design.upper, strict=True):
        value = np.asarray(values[name], dtype=float)
        scale = float(np.sqrt(np.mean(value**2))) if kind == "magnitude" else upper - lower
        if not 0.0 < scale < np.inf:
            other = "design_scale=bounds" if kind == "magnitude" else "design_scale=magnitude"
            what = f"the magnitude of {name}" if kind == "magnitude" else f"the width of the bounds of {name}"
            raise RequestError(f"design_scale={kind}: {what} is {scale:g}, no scale; {other} takes another one")
        scales.append(np.full(value.size, scale))
    return np.concatenate(scales)


def property_scale(
    names: Sequence[str], values: np.ndarray, changes: np.ndarray, wanted: str | Mapping[str, float]
) -> np.ndarray:
    """What a property is measured in, by rows.

    **Arguments:**

    - `values`: by packing and property.
    - `changes`: by property, how far a change of the design by its own scale moves the property, to first order.
    - `wanted`: `magnitude` (of the mean over packings), `standard_deviation` (over packings), or a number by name.
    """
    given = dict(wanted) if isinstance(wanted, Mapping) else {}
    for name in given:
        if name not in names:
            raise RequestError(f"property_scale.{name}: no such property here; {suggestion(name, list(names))}")
    if wanted == "standard_deviation":
        if len(values) < 2:
            raise RequestError("property_scale=standard_deviation: needs several packings; set n_configurations")
        scale = np.std(values, axis=0, ddof=1)
    else:
        scale = np.abs(np.mean(values, axis=0))
    # Not so small as to be rounding, in whatever units.
    least = {name: 0.0 if name in given else ROUNDING * change for name, change in zip(names, changes, strict=True)}
    scale = np.array([given.get(name, measured) for name, measured in zip(names, scale, strict=True)], dtype=float)
    for name, value in zip(names, scale, strict=True):
        if not value > least[name]:
            raise RunError(
                f"property_scale: that of {name} is {value:g}, no scale; give property_scale={{{name}: NUMBER}}"
            )
    return scale


@dataclasses.dataclass(frozen=True)
class Tunability:
    """The scaled Jacobian of all properties in all design variables, and what follows from it.

    **Attributes:**

    - `properties`, `columns`: names of rows and columns.
    - `values`: of the properties, by packing.
    - `jacobians`: `df/dd`, not scaled, by packing, property and design variable.
    - `property_scale`, `design_scale`: the scales of rows and columns.
    - `average`: how packings are averaged: `mean`, `median`, or `clipped` (mean of rows no longer than `clip` medians).
    """

    properties: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    jacobians: np.ndarray
    property_scale: np.ndarray
    design_scale: np.ndarray
    average: str = "mean"
    clip: float = 4.0

    @property
    def scaled(self) -> np.ndarray:
        """`(s_d / s_f) df/dd` by packing, property and design variable: dimensionless."""
        scaled: np.ndarray = self.jacobians * self.design_scale / self.property_scale[:, None]
        return scaled

    def averaged(self, average: str | None = None) -> np.ndarray:
        """The scaled Jacobian of the ensemble, by property and design variable."""
        scaled = self.scaled
        average = average or self.average
        if average == "median":
            median: np.ndarray = np.median(scaled, axis=0)
            return median
        if average == "clipped":
            scaled = scaled * self._clipping()[..., None]
        mean: np.ndarray = np.mean(scaled, axis=0)
        return mean

    def _clipping(self) -> np.ndarray:
        """The factor by which each row of each packing is shortened to at most `clip` median lengths."""
        lengths = dict(zip(self.properties, np.linalg.norm(self.scaled, axis=2).T, strict=True))
        limits = {name: self.clip * float(np.median(of_property)) for name, of_property in lengths.items()}
        factors = clipping_factors(lengths, limits)
        return np.stack([factors[name] for name in self.properties], axis=1)

    def decomposition(self, average: str | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`sigma`, and by row the directions `u` of the properties and `v` of the design: `J v_k = sigma_k u_k`.

        The largest entry of each `u_k` is positive.
        """
        u, sigma, v = np.linalg.svd(self.averaged(average), full_matrices=False)
        sign = np.sign(u[np.argmax(np.abs(u), axis=0), np.arange(len(sigma))])
        return sigma, (u * sign).T, v * sign[:, None]

    def standard_error(self) -> np.ndarray | None:
        """Standard error of each singular value to first order: that of `u_k^T J v_k` over packings; None for one."""
        _, u, v = self.decomposition()
        scaled = self.scaled * self._clipping()[..., None] if self.average == "clipped" else self.scaled
        return standard_error(np.einsum("kf,bfd,kd->bk", u, scaled, v))

    @property
    def rank(self) -> int:
        """How many independent combinations of the properties can be changed at all."""
        sigma = self.decomposition()[0]
        return int(np.sum(sigma > UNREACHABLE * sigma[0])) if sigma[0] > 0.0 else 0

    def step(self, change: Mapping[str, float]) -> tuple[np.ndarray, bool]:
        """The shortest step of the design (not scaled, by column) that makes a change, and whether it makes it whole.

        `d = S_d J⁺ S_f⁻¹ change` with the pseudoinverse of the rows that `change` names: no other step that changes
        these properties so is shorter in the scales of the design. Properties that are not named are free.
        """
        rows = [self.properties.index(name) for name in change]
        wanted = np.array(list(change.values()), dtype=float) / self.property_scale[rows]
        matrix = self.averaged()[rows]
        step = np.linalg.pinv(matrix, rcond=UNREACHABLE) @ wanted
        missed = np.linalg.norm(matrix @ step - wanted)
        return self.design_scale * step, bool(missed <= 1e-6 * np.linalg.norm(wanted))

    def predict(self, step: np.ndarray) -> np.ndarray:
        """Change of every property that a step of the design makes to first order."""
        change: np.ndarray = self.property_scale * (self.averaged() @ (step / self.design_scale))
        return change


def tunability(
    design: Design,
    values: DesignValues,
    samples: Sequence[Sample],
    *,
    property_scales: str | Mapping[str, float] = "magnitude",
    design_scales: str = "magnitude",
    average: str = "mean",
    clip: float = 4.0,
) -> Tunability:
    """The tunability that measured packings show; rejected ones do not count.

    **Arguments:**

    - `values`: the design at which the packings were prepared.
    - `samples`: packings with values and gradients of scalar properties.
    - `property_scales`, `design_scales`: see `property_scale` and `design_scale`.
    """
    measurements = [sample.measurement for sample in samples if sample.measurement is not None]
    if not measurements:
        reasons = describe_rejected(count_rejected(sample.outcome for sample in samples))
        raise RunError(f"tunability: none of {len(samples)} packings could be measured: {reasons}")
    names = tuple(measurements[0].values)
    of_packings = np.array([[float(m.values[name]) for name in names] for m in measurements])
    jacobians = np.array([[flatten(design, m.gradients[name]) for name in names] for m in measurements])
    columns = design_scale(design, values, design_scales)
    changes = np.median(np.linalg.norm(jacobians * columns, axis=2), axis=0)
    return Tunability(
        properties=names,
        columns=tuple(columns_of(design, values)),
        values=of_packings,
        jacobians=jacobians,
        property_scale=property_scale(names, of_packings, changes, property_scales),
        design_scale=columns,
        average=average,
        clip=clip,
    )


class ChangeReport(TypedDict):
    """The shortest step that makes a wanted change to first order, where it leads, and what it costs."""

    wanted: dict[str, float]
    reachable: bool
    cost: float
    step: dict[str, np.ndarray]
    design: dict[str, np.ndarray]
    within_bounds: bool
    predicted: dict[str, float]


class MeanReport(TypedDict):
    """The mean of each property over packings."""

    mean: np.ndarray
    standard_error: np.ndarray | None


class TunabilityReport(TypedDict):
    """The Jacobian of the properties in the design variables, and its singular values and directions."""

    properties: list[str]
    design: list[str]
    values: MeanReport
    property_scale: np.ndarray
    design_scale: np.ndarray
    jacobian: dict[str, np.ndarray | None]
    average: str
    clip: float
    singular_values: np.ndarray
    standard_error: np.ndarray | None
    singular_values_by_average: dict[str, np.ndarray]
    property_directions: np.ndarray
    design_directions: np.ndarray
    cost: np.ndarray
    rank: int
    change: ChangeReport | None
    requested: int
    converged: int
    rejected: dict[str, int]


def tunability_report(
    result: Tunability,
    design: Design,
    values: DesignValues,
    change: Mapping[str, float],
    *,
    requested: int,
    rejected: dict[str, int],
) -> TunabilityReport:
    """What `analysis.json` says about tunability.

    **Arguments:**

    - `change`: wanted changes by property; empty if none is wanted.
    - `requested`, `rejected`: how many packings were asked for, and the counts of those that were rejected.
    """
    sigma, u, v = result.decomposition()
    error = standard_error(result.values)
    reachable = sigma > UNREACHABLE * sigma[0]
    jacobians = {name: result.averaged(name) for name in AVERAGES}
    unscale = result.property_scale[:, None] / result.design_scale
    spread = standard_error(result.jacobians)
    return {
        "properties": list(result.properties),
        "design": list(result.columns),
        "values": {
            "mean": np.mean(result.values, axis=0),
            "standard_error": error,
        },
        "property_scale": result.property_scale,
        "design_scale": result.design_scale,
        "jacobian": {**{name: matrix * unscale for name, matrix in jacobians.items()}, "standard_error": spread},
        "average": result.average,
        "clip": result.clip,
        "singular_values": sigma,
        "standard_error": result.standard_error(),
        "singular_values_by_average": {name: result.decomposition(name)[0] for name in AVERAGES},
        "property_directions": u,
        "design_directions": v,
        "cost": np.where(reachable, 1.0 / np.where(reachable, sigma, 1.0), np.nan),
        "rank": result.rank,
        "change": change_report(result, design, values, change) if change else None,
        "requested": requested,
        "converged": len(result.values),
        "rejected": rejected,
    }


def change_report(
    result: Tunability, design: Design, values: DesignValues, change: Mapping[str, float]
) -> ChangeReport:
    """The shortest step that makes a wanted change to first order: where it leads, and what it costs."""
    step, reachable = result.step(change)
    start = flatten(design, values)
    end = unflatten(design, values, start + step)
    bounds = zip(design.names, design.lower, design.upper, strict=True)
    return {
        "wanted": dict(change),
        "reachable": reachable,
        "cost": float(np.linalg.norm(step / result.design_scale)),
        "step": unflatten(design, values, step),
        "design": end,
        "within_bounds": all(bool(np.all((lower <= end[n]) & (end[n] <= upper))) for n, lower, upper in bounds),
        "predicted": dict(zip(result.properties, result.predict(step).tolist(), strict=True)),
    }
