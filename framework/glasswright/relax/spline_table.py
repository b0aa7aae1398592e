"""The forces of a pair potential as tables by species, which compiled loops read without knowing the potential."""

import dataclasses
import threading
from collections.abc import Hashable
from typing import Literal

import jax
import numpy as np
from jaxtyping import Float

from .._errors import RequestError
from ..physics.configuration import Configuration
from ..physics.pair_potential import AbstractPairPotential
from ..physics.potential import AbstractPotential
from ..physics.species_pairs import PairFunctions, pair_functions

# Which loop descends: XLA's with the potential itself, a native one with tables of it, or whichever is better.
DescentKind = Literal["auto", "native", "xla"]
# `auto` descends natively from this number of particles on. Packings of fewer stay what they were.
NATIVE_FROM = 5000

# Intervals of the squared distance in a table. Where the curvature is continuous, the force of harmonic-Morse pairs is
# right to 1e-9 of its unit; in an interval with a jump, to a tenth of the jump times the width of the interval.
INTERVALS = 4096
# Tables begin at this many intervals. Nearer pairs, which only random starts have, repel as at the beginning.
INNERMOST = 8
# Derivatives at the ends of intervals are taken at distances that differ from them by this share, on either side.
SIDE = 1e-9
# Halvings of the interval in which a curvature jumps.
HALVINGS = 24
# Tables that are kept.
KEPT = 4
# Tables of all pairs of species together have no more intervals than this: 64 MB.
ALL_INTERVALS = 2_000_000


@dataclasses.dataclass(frozen=True)
class SplineTable:
    """The force over the distance, `g = -V'(r) / r`, as a cubic in each interval of `u = r²`, for `s` species.

    **Attributes:**

    - `table`: coefficients of `g` in the place within each interval, from 0 to 1; the last interval is zero.
    - `inner`: the squared distance at which the first interval begins.
    - `per_interval`: intervals per squared length.
    - `cutoff`: distance from which on a pair of species does not interact.
    """

    table: Float[np.ndarray, "s s m 4"]
    inner: Float[np.ndarray, "s s"]
    per_interval: float
    cutoff: Float[np.ndarray, "s s"]


def table_for_descent(
    potential: AbstractPotential, configuration: Configuration, descent: DescentKind
) -> SplineTable | None:
    """The tables for a native descent; None where XLA's loop is to descend.

    Raises `RequestError` if `native` is asked for where it is not possible.
    """
    large = configuration.n_particles >= NATIVE_FROM and jax.default_backend() == "cpu"
    # What is not finite is for the search to refuse.
    if descent == "xla" or not (descent == "native" or large) or not np.isfinite(potential.reach(configuration)):
        return None
    name, d = type(potential).__name__, configuration.dimension
    table = None
    if (
        not isinstance(potential, AbstractPairPotential)
        or potential.bonds(configuration) is not None
        or configuration.disorder
    ):
        reason = f"the interactions ({name}) are, for these particles, no sum over pairs that depends on species alone"
    elif d not in (2, 3):
        reason = f"the packing has {d} dimensions, and not two or three"
    else:
        table = spline_table(potential, configuration)
        reason = f"{name} has no tables: a force is not finite within its range, or there are too many species"
    if table is None and descent == "native":
        raise RequestError(f"protocol.descent=native: {reason}; take descent=xla, or leave it out")
    return table


def spline_table(potential: AbstractPairPotential, configuration: Configuration) -> SplineTable | None:
    """The tables of a potential whose interactions depend on species alone.

    None if some force is not finite, or if there are too many species. The last tables are kept: an ensemble has one
    potential, and making its tables takes half as long as a descent of a hundred particles.
    """
    n_species = int(np.max(np.asarray(configuration.species))) + 1
    leaves, structure = jax.tree.flatten((potential, configuration.box))
    key = structure, n_species, tuple(np.asarray(leaf).tobytes() for leaf in leaves)
    with _lock:
        if key in _tables:
            return _tables[key]
    table = _make_table(potential, configuration, n_species)
    with _lock:
        _tables[key] = table
        while len(_tables) > KEPT:
            del _tables[next(iter(_tables))]
    return table


_lock = threading.Lock()
_tables: dict[Hashable, SplineTable | None] = {}


def _make_table(potential: AbstractPairPotential, configuration: Configuration, n_species: int) -> SplineTable | None:
    a, b = np.triu_indices(n_species)
    if len(a) * INTERVALS > ALL_INTERVALS:
        return None
    functions = pair_functions(potential, configuration, a, b)
    outer = float(potential.reach(configuration)) ** 2
    width = outer / (INTERVALS + INNERMOST)
    inner = np.full(len(a), INNERMOST * width)
    coefficients = _coefficients(functions, inner, width)
    if coefficients is not None:
        # Once more, with an end of an interval at the strongest kink, where a cubic would be least accurate.
        kink = _strongest_kink(functions, coefficients, inner, width)
        inner = inner + (kink - inner) % width
        coefficients = _coefficients(functions, inner, width)
    if coefficients is None:
        return None
    table = np.zeros((n_species, n_species, INTERVALS + 1, 4))
    inners, cutoffs = np.zeros((2, n_species, n_species))
    # The end of the last interval with a force.
    used = np.array([np.flatnonzero(np.any(rows != 0.0, axis=1)).max(initial=0) + 1 for rows in coefficients])
    table[a, b] = table[b, a] = coefficients
    inners[a, b] = inners[b, a] = inner
    cutoffs[a, b] = cutoffs[b, a] = np.sqrt(inner + width * used)
    return SplineTable(table, inners, 1.0 / width, cutoffs)


def _coefficients(
    functions: PairFunctions, inner: Float[np.ndarray, " t"], width: float
) -> Float[np.ndarray, "t m 4"] | None:
    """The cubics of all intervals from values and derivatives at their ends; None if some are not finite."""
    squared = inner[:, None] + width * np.arange(INTERVALS + 1)
    distance = np.sqrt(squared)
    value = -functions(distance)[1] / distance

    def derivative(side: float) -> Float[np.ndarray, "t m"]:
        """In units of the interval, on one side of each end: there may be a kink there."""
        curvature = functions(distance * (1.0 + side))[2]
        change: np.ndarray = (-curvature - value) / (2.0 * squared) * width
        return change

    first, second = derivative(SIDE)[:, :-1], derivative(-SIDE)[:, 1:]
    jump = value[:, 1:] - value[:, :-1]
    cubics = [value[:, :-1], first, 3.0 * jump - 2.0 * first - second, first + second - 2.0 * jump]
    result = np.zeros((len(inner), INTERVALS + 1, 4))
    result[:, :-1] = np.stack(cubics, axis=-1)
    return result if np.all(np.isfinite(result)) else None


def _strongest_kink(
    functions: PairFunctions, coefficients: Float[np.ndarray, "t m 4"], inner: Float[np.ndarray, " t"], width: float
) -> Float[np.ndarray, " t"]:
    """The squared distance at which the curvature of each pair of species jumps most, if it does."""
    # The same number of distances again, for which there is a program.
    middle = np.sqrt(inner[:, None] + width * (np.arange(INTERVALS + 1) + 0.5))
    cubic = coefficients @ 0.5 ** np.arange(4)
    worst = np.argmax(np.abs(cubic * middle + functions(middle)[1])[:, :-1], axis=1)
    low: np.ndarray = inner + width * worst
    high: np.ndarray = inner + width * (worst + 1)
    for _ in range(HALVINGS):
        half = 0.5 * (low + high)
        # A smooth change is shared by both halves; a jump is in one of them.
        curvature = functions(np.sqrt(np.stack([low, half, high], axis=1)))[2]
        below = np.abs(curvature[:, 1] - curvature[:, 0]) > np.abs(curvature[:, 2] - curvature[:, 1])
        low, high = np.where(below, low, half), np.where(below, half, high)
    return low
