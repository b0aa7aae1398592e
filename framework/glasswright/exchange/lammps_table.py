"""Pair potentials as tables of LAMMPS (`pair_style table`)."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from .._errors import RequestError
from ..physics.configuration import Configuration
from ..physics.pair_potential import AbstractPairPotential
from ..physics.potential import AbstractPotential
from ..physics.species_pairs import PairFunctions, pair_functions
from .packing import Packing

# Rows of all tables together, and of one at most and at least. They are at distances whose squares are evenly spaced,
# as LAMMPS keeps them. A spline through 10000 of them differs from a smooth potential by 1e-11 or so of its depth. Near
# a jump of the curvature its force is wrong by a tenth of the jump times the distance of rows.
ALL_ROWS, MOST_ROWS, FEWEST_ROWS = 120_000, 40_000, 2_000
# Distances at which it is looked for the cutoff of a pair.
N_LOOKS = 2_000
# A table begins at this share of the shortest distance in the packings.
INNERMOST = 0.5
# Halvings of the interval in which a potential ends.
HALVINGS = 60


@dataclasses.dataclass(frozen=True)
class PairTable:
    """The interaction of two species.

    **Attributes:**

    - `first`, `second`: the species, counted from zero.
    - `distance`: ascending, in units of length; the last is the cutoff.
    - `energy`, `force`: `V` and `-V'` there.
    - `slopes`: `-V''` at the first and the last distance.
    """

    first: int
    second: int
    distance: Float[np.ndarray, " m"]
    energy: Float[np.ndarray, " m"]
    force: Float[np.ndarray, " m"]
    slopes: tuple[float, float]

    @property
    def cutoff(self) -> float:
        return float(self.distance[-1])

    def keyword(self, labels: Sequence[str]) -> str:
        """The name of the section in the file of tables."""
        return f"{labels[self.first]}_{labels[self.second]}"


def check_tabulated(potential: AbstractPotential, packings: Sequence[Packing]) -> None:
    """Raise `RequestError` unless a function of the distance for each pair of species is all there is to say."""
    name = type(potential).__name__
    if not isinstance(potential, AbstractPairPotential):
        raise RequestError(f"format lammps: {name} is no sum over pairs, and has no tables")
    if potential.bonds(packings[0].configuration) is not None:
        raise RequestError(f"format lammps: {name} has bonds of its own, and no interaction of species")
    if packings[0].configuration.disorder:
        raise RequestError("format lammps: with disorder every pair of particles has an interaction of its own")


def pair_tables(potential: AbstractPairPotential, packings: Sequence[Packing]) -> list[PairTable]:
    """A table for each pair of species, from half the shortest distance in the packings to the pair's cutoff."""
    n_species = len(packings[0].labels)
    a, b = np.triu_indices(n_species)
    evaluate = pair_functions(potential, packings[0].configuration, a, b)
    inner = INNERMOST * min(_shortest_distance(packing.configuration) for packing in packings)
    ends = _cutoffs(evaluate, inner, float(potential.cutoff), len(a))
    n_rows = max(min(ALL_ROWS // len(a), MOST_ROWS), FEWEST_ROWS)
    squares = inner**2 + (ends**2 - inner**2)[:, None] * np.linspace(0.0, 1.0, n_rows)
    distance = np.sqrt(squares)
    # Exactly, and not up to a rounding.
    distance[:, 0], distance[:, -1] = inner, ends
    energy, slope, curvature = evaluate(distance)
    return [
        PairTable(
            int(a[k]), int(b[k]), distance[k], energy[k], -slope[k], (-float(curvature[k, 0]), -float(curvature[k, -1]))
        )
        for k in range(len(a))
    ]


def table_file(tables: Sequence[PairTable], labels: Sequence[str]) -> str:
    """The text of a file with a section for each table."""
    lines = ["# Interactions by glasswright: index, distance, energy, force", ""]
    for table in tables:
        lines += [
            table.keyword(labels),
            f"N {len(table.distance)} RSQ {table.distance[0]:.17g} {table.cutoff:.17g} "
            f"FPRIME {table.slopes[0]:.17g} {table.slopes[1]:.17g}",
            "",
            *_rows(table),
            "",
        ]
    return "\n".join(lines)


def _rows(table: PairTable) -> Iterator[str]:
    rows = zip(table.distance, table.energy, table.force, strict=True)
    return (f"{k} {r:.17g} {e:.17g} {f:.17g}" for k, (r, e, f) in enumerate(rows, start=1))


def _cutoffs(evaluate: PairFunctions, inner: float, largest: float, n_pairs: int) -> Float[np.ndarray, " t"]:
    """The distance from which on each pair does not interact."""
    grid = np.linspace(inner, largest, N_LOOKS)
    energy, slope, _ = evaluate(np.broadcast_to(grid, (n_pairs, N_LOOKS)))
    interacts = (energy != 0.0) | (slope != 0.0)
    # A pair that never interacts has a table of zeros.
    last = np.where(np.any(interacts, axis=1), N_LOOKS - 1 - np.argmax(interacts[:, ::-1], axis=1), N_LOOKS - 1)
    low: np.ndarray = grid[last]
    high: np.ndarray = grid[np.minimum(last + 1, N_LOOKS - 1)]
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        # Of the same shape, for which there is a program.
        energy, slope, _ = evaluate(np.broadcast_to(middle[:, None], (n_pairs, N_LOOKS)))
        inside = (energy[:, 0] != 0.0) | (slope[:, 0] != 0.0)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return high


def _shortest_distance(configuration: Configuration) -> float:
    """The distance of the two particles that are nearest to each other."""
    fractional, box = np.asarray(configuration.fractional), np.asarray(configuration.box)
    shortest = np.inf
    for k in range(len(fractional) - 1):
        difference = fractional[k + 1 :] - fractional[k]
        displacement = (difference - np.round(difference)) @ box.T
        shortest = min(shortest, float(np.min(np.sum(displacement**2, axis=1))))
    return float(np.sqrt(shortest))
