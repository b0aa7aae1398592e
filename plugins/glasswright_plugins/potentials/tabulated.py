"""Potentials that are given as tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
from glasswright.neighbors import PairIndex
from jaxtyping import Array, Float, Int, PyTree

from ._parameters import PerPair, check, pair_index, per_pair, species_of_pairs
from ._smoothing import CONTINUOUS, evaluate_polynomial

# A cubic spline through fewer points has too few pieces to be one.
FEWEST_ROWS = 4


class Tabulated(gw.AbstractPairPotential):
    """A pair energy from a table, `V(r) = A T(r / L)`, interpolated by a cubic spline: continuous second derivatives.

    The last distance of the table is the cutoff. There an even polynomial in the distance, added to the spline, brings
    the energy and one derivative (`polynomial_1`) or two (`polynomial_2`) to zero. It changes nothing where the table
    ends so by itself, up to the error of the spline's derivatives at its end, which for the second one is the largest.
    Below the first distance the energy goes on as a parabola with the value, slope and curvature of the spline.

    Quenched disorder multiplies `L` by the mean factor of both diameters, and `A` by the factor of the bond.

    **Arguments:**

    - `path`: a text file with distances in its first column, ascending, in units of length, and energies in one further
      column for all pairs, or in one for each pair of species: upper triangle, row by row. `#` begins a comment.
    - `amplitude`: `A`, the factor of the energies, of each pair of species: a scalar, a symmetric matrix, or the packed
      upper triangle.
    - `length`: `L`, the factor of the distances, given in the same way.
    - `n_species`: number of species; left out, that of the columns, or one.
    - `smoothing`: `polynomial_1` or `polynomial_2`.
    """

    amplitude: Float[Array, " t"]
    length: Float[Array, " t"]
    path: str = eqx.field(static=True)
    n_species: int = eqx.field(static=True)
    smoothing: Literal["polynomial_1", "polynomial_2"] = eqx.field(static=True)
    # NumPy's, because they are not parameters: only JAX's arrays can be trained.
    knots: Float[np.ndarray, " m"]
    pieces: Float[np.ndarray, "tables m_less_one 4"]
    polynomials: Float[np.ndarray, "tables q"]

    def __init__(
        self,
        path: Path | str,
        amplitude: PerPair = 1.0,
        length: PerPair = 1.0,
        n_species: int | None = None,
        smoothing: Literal["polynomial_1", "polynomial_2"] = "polynomial_1",
    ):
        knots, energies = _read_table(path)
        if n_species is None:
            n_species = _species_of_pairs(energies.shape[0])
        n_pairs = n_species * (n_species + 1) // 2
        if energies.shape[0] not in (1, n_pairs):
            raise ValueError(
                f"tabulated(path={path}): {n_species} species need one column of energies for all pairs, or {n_pairs}, "
                f"one for each pair; there are {energies.shape[0]}."
            )
        if smoothing not in ("polynomial_1", "polynomial_2"):
            raise ValueError(f"tabulated(smoothing={smoothing!r}): must be polynomial_1 or polynomial_2.")
        # A quarter of a second, which only those pay who have a table.
        from scipy.interpolate import CubicSpline

        splines = CubicSpline(knots, energies, axis=1)
        self.path, self.n_species, self.smoothing = str(path), n_species, smoothing
        self.amplitude = per_pair("tabulated", "amplitude", amplitude, n_species)
        self.length = per_pair("tabulated", "length", length, n_species)
        self.knots = knots
        # SciPy has the highest power first, and the table last.
        self.pieces = np.ascontiguousarray(np.transpose(splines.c[::-1], (2, 1, 0)))
        self.polynomials = _end_polynomials([splines(knots[-1], k) for k in range(3)], knots[-1], CONTINUOUS[smoothing])

    def __check_init__(self) -> None:
        check("tabulated", positive={"amplitude": self.amplitude, "length": self.length})

    @property
    def cutoff(self) -> Float[Array, ""]:
        return jnp.asarray(self.knots)[-1] * jnp.max(self.length)

    def reach(self, configuration: gw.Configuration) -> Float[Array, ""]:
        """The cutoff of the largest particles."""
        factor = gw.diameter_factor(configuration)
        return self.cutoff if factor is None else self.cutoff * jnp.max(factor)

    def knows_disorder(self, field: str) -> bool:
        """Polydispersity and heterogeneity are known."""
        return field in ("diameter_factor", "bond_seed", "bond_spread")

    def pair_parameters(
        self, configuration: gw.Configuration, i: PairIndex, j: PairIndex
    ) -> tuple[Float[Array, " p"], Float[Array, " p"], Int[Array, " p"]]:
        """Amplitude and length of each pair, and the number of its table."""
        pair = pair_index(configuration.species[i], configuration.species[j], self.n_species)
        amplitude, length = self.amplitude[pair], self.length[pair]
        factor, bond = gw.diameter_factor(configuration), gw.bond_factor(configuration, i, j)
        if factor is not None:
            length = length * 0.5 * (factor[i] + factor[j])
        if bond is not None:
            amplitude = amplitude * bond
        return amplitude, length, pair if len(self.pieces) > 1 else jnp.zeros_like(pair)

    def pair_energy(self, r: Float[Array, ""], parameters: PyTree) -> Float[Array, ""]:
        amplitude, length, table = cast(tuple[Array, Array, Array], parameters)
        knots = jnp.asarray(self.knots)
        last = knots[-1]
        x = jnp.minimum(r / length, last)
        # The derivative of the choice of a piece is zero, which is exact: the pieces join smoothly.
        piece = jnp.clip(jnp.searchsorted(knots, jax.lax.stop_gradient(x), side="right") - 1, 0, len(self.knots) - 2)
        c = jnp.asarray(self.pieces)[table, piece]
        d = x - knots[piece]
        # Below the first distance, without the cubic term.
        value = c[0] + d * (c[1] + d * (c[2] + jnp.where(d > 0.0, d, 0.0) * c[3]))
        end = evaluate_polynomial(jnp.asarray(self.polynomials)[table], x, last)
        return jnp.where(x < last, amplitude * (value + end), 0.0)


def _read_table(path: Path | str) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, "tables m"]]:
    """Distances and energies of a file; raises a `ValueError` for what is no table."""
    where = f"tabulated(path={path})"
    try:
        lines = Path(path).read_text().replace(",", " ").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        fields = line.split("#")[0].split()
        try:
            row = [float(field) for field in fields]
        except ValueError:
            raise ValueError(f"{where}: line {number}: {line.strip()[:60]!r} is no row of numbers.") from None
        if row and rows and len(row) != len(rows[0]):
            raise ValueError(f"{where}: line {number}: {len(row)} columns, and {len(rows[0])} before.")
        if row:
            rows.append(row)
            if not np.all(np.isfinite(row)) or (len(rows) > 1 and not row[0] > rows[-2][0]):
                raise ValueError(f"{where}: line {number}: needs finite numbers, and distances that ascend.")
    if len(rows) < FEWEST_ROWS or len(rows[0]) < 2 or rows[0][0] < 0.0:
        raise ValueError(
            f"{where}: needs {FEWEST_ROWS} rows or more, each with a distance, not negative, and an energy or more."
        )
    table = np.asarray(rows)
    return table[:, 0], np.ascontiguousarray(table[:, 1:].T)


def _species_of_pairs(n_tables: int) -> int:
    """The number of species with so many pairs; one, if there is no such number."""
    n_species = species_of_pairs(n_tables)
    return n_species if n_species * (n_species + 1) // 2 == n_tables else 1


def _end_polynomials(
    at_end: Sequence[Float[np.ndarray, " tables"]], cutoff: float, q: int
) -> Float[np.ndarray, "tables q"]:
    """Coefficients of the polynomial in `r² - r_c²` that brings each spline and `q` derivatives to zero at the end.

    `at_end` has the value, the slope and the curvature of each spline there.
    """
    value, slope, curvature = at_end
    first = slope / (2.0 * cutoff)
    second = (curvature - slope / cutoff) / (4.0 * cutoff**2)
    return -np.stack([value, first, 0.5 * second], axis=1)[:, : q + 1]
