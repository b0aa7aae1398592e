"""Orientational order of neighbours."""

import math

import glasswright as gw
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._neighborhood import check_neighborhood, sum_at_particles, weighted_pairs


class BondOrder(gw.AbstractProperty):
    """Orientational order of the neighbours of a particle, averaged over particles: 1 if they stand in perfect order.

    Two dimensions: `q_m = mean_i |sum_j w_ij exp(i m theta_ij)| / n_i` with `m` the symmetry number. Three dimensions:
    Steinhardt's `q_l = mean_i sqrt(4 pi / (2l + 1) sum_m |sum_j w_ij Y_lm|²) / n_i`. `n_i` is the sum of the weights
    `w_ij` of the neighbours; below 1 it is replaced by `(1 + n_i²)/2`, so that a particle that loses its last neighbour
    loses its order smoothly. A single neighbour is perfect order: report `coordination` beside it.

    `q8` is the case `symmetry=8`. With `width=0` neighbours are cut at a distance, as in the paper's released code.

    **Arguments:**

    - `symmetry`: `m` (or `l`).
    - `distance`: up to which particles are neighbours, in units of length; left out, the largest diameter.
    - `width`: over which share of it the weight of a neighbour falls from 1 to 0; zero is a hard cut.
    """

    symmetry: int = 6
    distance: float | None = None
    width: float = 0.1

    requires = gw.Equilibrium
    units = "dimensionless"
    source = "Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 5; Steinhardt et al., Phys. Rev. B 28, 784 (1983), Eq. 1.3"

    def __check_init__(self) -> None:
        check_neighborhood("bond_order", self.distance, self.width)
        if self.symmetry < 1:
            raise ValueError(f"bond_order(symmetry={self.symmetry}): must be at least 1.")

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        n = state.configuration.n_particles
        i, j, vector, r, weight = weighted_pairs(state, self.distance, self.width)
        unit = vector / r[:, None]
        harmonics = _circular(unit, self.symmetry) if unit.shape[1] == 2 else _spherical(unit, self.symmetry)
        from_i = weight[:, None] * harmonics
        # At the other particle the vector of the pair is reversed: harmonics have the parity of the symmetry number.
        from_j = from_i * (-1.0) ** self.symmetry
        total = sum_at_particles(n, i, j, from_i, from_j)
        count = sum_at_particles(n, i, j, weight, weight)
        squared = jnp.sum(total**2, axis=1)
        ordered = squared > 0.0
        size = jnp.where(ordered, jnp.sqrt(jnp.where(ordered, squared, 1.0)), 0.0)
        value = jnp.mean(size / jnp.where(count < 1.0, 0.5 * (1.0 + count**2), count))
        return jnp.where(jnp.isnan(jnp.sum(weight)), jnp.nan, value)


def _circular(unit: Float[Array, "p 2"], m: int) -> Float[Array, "p 2"]:
    """Real and imaginary part of `exp(i m theta)` of each unit vector."""
    power = (unit[:, 0] + 1j * unit[:, 1]) ** m
    return jnp.stack([power.real, power.imag], axis=1)


def _spherical(unit: Float[Array, "p 3"], order: int) -> Float[Array, "p h"]:
    """Real functions whose squares, summed over bonds, make up `4 pi / (2l + 1) sum_m |Y_lm|²`.

    `sqrt(2 (l-m)!/(l+m)!) (x + iy)^m d^m P_l(z)/dz^m`: polynomials in the components, smooth at the poles.
    """
    plane = unit[:, 0] + 1j * unit[:, 1]
    legendre = np.polynomial.legendre.Legendre.basis(order)
    columns = []
    for m in range(order + 1):
        polynomial = legendre.deriv(m) if m else legendre
        coefficients = polynomial.convert(kind=np.polynomial.Polynomial).coef[::-1]
        scale = math.sqrt((2.0 if m else 1.0) * math.factorial(order - m) / math.factorial(order + m))
        value = scale * jnp.polyval(jnp.asarray(coefficients), unit[:, 2]) * plane**m
        columns += [value.real, value.imag] if m else [value.real]
    return jnp.stack(columns, axis=1)
