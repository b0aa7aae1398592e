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
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._errors import RequestError, RunError, suggestion
from ..components.objective import Term
from ..components.property import AbstractProperty
from ..evaluation.design import Design
from ..evaluation.loss import clipping
from ..evaluation.measurement import Measured, Sample
from ..evaluation.statistics import count_rejected, describe_rejected, standard_error

# Singular values below this share of the largest are rounding: such a direction cannot be reached at all.
UNREACHABLE = 1e-10
AVERAGES = ("mean", "clipped", "median")
# So many entries of one array property: each is differentiated by itself.
MOST_ENTRIES = 100


class Entry(AbstractProperty):
    """One entry of a property that is an array, as a number of its own."""

    property: AbstractProperty
    index: tuple[int, ...] = eqx.field(static=True)

    def measure(self, state):
        """`f[index]` of the array `f`."""
        return jnp.asarray(self.property.measure(state))[self.index]


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


def columns_of(design: Design, values: Mapping[str, Any]) -> list[str]:
    """A name for each number of the design, in the order of the Jacobian's columns: `diameter[0]`."""
    return [
        name if np.ndim(values[name]) == 0 else f"{name}[{','.join(map(str, index))}]"
        for name in design.names
        for index in np.ndindex(np.shape(values[name]))
    ]


def flatten(design: Design, values: Mapping[str, Any]) -> np.ndarray:
    """The numbers of the design (or of a gradient) in the order of the Jacobian's columns."""
    return np.concatenate([np.ravel(np.asarray(values[name], dtype=float)) for name in design.names])


def unflatten(design: Design, like: Mapping[str, Any], numbers: np.ndarray) -> dict[str, np.ndarray]:
    """The inverse of `flatten`."""
    result, start = {}, 0
    for name in design.names:
        shape = np.shape(like[name])
        size = int(np.prod(shape))
        result[name] = np.asarray(numbers[start : start + size]).reshape(shape)
        start += size
    return result


def design_scale(design: Design, values: Mapping[str, Any], kind: str) -> np.ndarray:
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


def property_scale(names: Sequence[str], values: np.ndarray, wanted: Any) -> np.ndarray:
    """What a property is measured in, by rows.

    **Arguments:**

    - `values`: by packing and property.
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
    scale = np.array([given.get(name, one) for name, one in zip(names, scale, strict=True)], dtype=float)
    for name, one in zip(names, scale, strict=True):
        if not one > 1e-12:
            raise RunError(
                f"property_scale: that of {name} is {one:g}, no scale; give property_scale={{{name}: NUMBER}}"
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
        return self.jacobians * self.design_scale / self.property_scale[:, None]

    def averaged(self, average: str | None = None) -> np.ndarray:
        """The scaled Jacobian of the ensemble, by property and design variable."""
        scaled = self.scaled
        average = average or self.average
        if average == "median":
            return np.median(scaled, axis=0)
        if average == "clipped":
            scaled = scaled * self._clipping()[..., None]
        return np.mean(scaled, axis=0)

    def _clipping(self) -> np.ndarray:
        """The factor by which each row of each packing is shortened to at most `clip` median lengths."""
        lengths = dict(zip(self.properties, np.linalg.norm(self.scaled, axis=2).T, strict=True))
        factors = clipping(lengths, {name: self.clip * float(np.median(some)) for name, some in lengths.items()})
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
        return self.property_scale * (self.averaged() @ (step / self.design_scale))


def tunability(
    design: Design,
    values: Mapping[str, Any],
    samples: Sequence[Sample],
    *,
    property_scales: Any = "magnitude",
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
    rows: list[Measured] = [one.measured for one in samples if one.measured is not None]
    if not rows:
        reasons = describe_rejected(count_rejected(one.outcome for one in samples))
        raise RunError(f"tunability: none of {len(samples)} packings could be measured: {reasons}")
    names = tuple(rows[0].values)
    found = np.array([[float(row.values[name]) for name in names] for row in rows])
    jacobians = np.array([[flatten(design, row.gradients[name]) for name in names] for row in rows])
    return Tunability(
        properties=names,
        columns=tuple(columns_of(design, values)),
        values=found,
        jacobians=jacobians,
        property_scale=property_scale(names, found, property_scales),
        design_scale=design_scale(design, values, design_scales),
        average=average,
        clip=clip,
    )


def tunability_report(
    found: Tunability, design: Design, values: Mapping[str, Any], change: Mapping[str, float]
) -> dict[str, Any]:
    """What `analysis.json` says about tunability."""
    sigma, u, v = found.decomposition()
    error = standard_error(found.values)
    reachable = sigma > UNREACHABLE * sigma[0]
    jacobians = {name: found.averaged(name) for name in AVERAGES}
    unscale = found.property_scale[:, None] / found.design_scale
    spread = standard_error(found.jacobians)
    return {
        "properties": list(found.properties),
        "design": list(found.columns),
        "values": {
            "mean": np.mean(found.values, axis=0),
            "standard_error": error,
        },
        "property_scale": found.property_scale,
        "design_scale": found.design_scale,
        "jacobian": {name: one * unscale for name, one in jacobians.items()} | {"standard_error": spread},
        "average": found.average,
        "clip": found.clip,
        "singular_values": sigma,
        "standard_error": found.standard_error(),
        "singular_values_by_average": {name: found.decomposition(name)[0] for name in AVERAGES},
        "property_directions": u,
        "design_directions": v,
        "cost": np.where(reachable, 1.0 / np.where(reachable, sigma, 1.0), np.nan),
        "rank": found.rank,
        "change": change_report(found, design, values, change) if change else None,
    }


def change_report(
    found: Tunability, design: Design, values: Mapping[str, Any], change: Mapping[str, float]
) -> dict[str, Any]:
    """The shortest step that makes a wanted change to first order: where it leads, and what it costs."""
    step, reachable = found.step(change)
    start = flatten(design, values)
    end = unflatten(design, values, start + step)
    bounds = zip(design.names, design.lower, design.upper, strict=True)
    return {
        "wanted": dict(change),
        "reachable": reachable,
        "cost": float(np.linalg.norm(step / found.design_scale)),
        "step": unflatten(design, values, step),
        "design": end,
        "within_bounds": all(bool(np.all((lower <= end[n]) & (end[n] <= upper))) for n, lower, upper in bounds),
        "predicted": dict(zip(found.properties, found.predict(step).tolist(), strict=True)),
    }
