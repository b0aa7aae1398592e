"""Which basis describes a lattice best: the minimum-image convention needs a wide box."""

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Float, Int

Vector = Sequence[Fraction]

# A basis is replaced only if another one makes the box wider by more than rounding could.
WIDER = Fraction(1, 10**9)
# Lattice vectors that are longer than the box is wide by more than this say nothing about it: rounding is as large.
MOST_SKEWED = 1e8


def widest_basis(box: Float[np.ndarray, "d d"]) -> Int[np.ndarray, "d d"]:
    """Integers `c` for which `box @ c` is a basis of the same lattice whose box is as wide as possible.

    Lattice vectors are columns. The width is the smallest distance between opposite faces (`box_width`), which is one
    over the longest vector of the dual basis. So the dual basis is reduced (Lagrange and Gauss in two dimensions,
    Minkowski in three): no dual vector becomes shorter by adding or subtracting others. The result has determinant one
    and therefore keeps the handedness. It is the identity if the box is as wide as possible already.

    Computed with rational numbers, so that no basis is too skewed for it. Raises `ValueError` for vectors that span no
    volume, or none that is larger than their rounding.
    """
    d = box.shape[0]
    scale = Fraction(float(np.max(np.abs(box))))
    if scale == 0:
        raise ValueError("the lattice vectors must span a volume")
    columns = [[Fraction(float(x)) / scale for x in box[:, k]] for k in range(d)]
    dual, volume = _dual(columns)
    if volume == 0:
        raise ValueError("the lattice vectors must span a volume")
    before = max(_dot(v, v) for v in dual)
    change = [[int(i == k) for i in range(d)] for k in range(d)]
    while _shorten_one(dual, change):
        pass
    after = max(_dot(v, v) for v in dual)
    # The dual vectors are scaled by the volume.
    longest = max(_dot(v, v) for v in columns)
    if float(longest * after / volume**2) > MOST_SKEWED**2:
        raise ValueError("the lattice vectors must span a volume larger than their rounding")
    if before <= after * (1 + 2 * WIDER):
        return np.eye(d, dtype=int)
    return np.asarray(change, dtype=int).T


def _dual(columns: Sequence[Vector]) -> tuple[list[list[Fraction]], Fraction]:
    """The dual basis times the volume, and the volume (negative for a left-handed basis)."""
    if len(columns) == 2:
        (ax, ay), (bx, by) = columns
        return [[by, -bx], [-ay, ax]], ax * by - ay * bx
    a, b, c = columns
    dual = [_cross(b, c), _cross(c, a), _cross(a, b)]
    return dual, _dot(a, dual[0])


def _shorten_one(dual: list[list[Fraction]], change: list[list[int]]) -> bool:
    """Replace one dual vector by a shorter one, and the basis accordingly; False if there is none."""
    d = len(dual)
    for i in range(d):
        others = [j for j in range(d) if j != i]
        length = _dot(dual[i], dual[i])
        # Far steps along one other vector first. Near steps then find whatever is left in up to three dimensions.
        steps = [(round(_dot(dual[i], dual[j]) / _dot(dual[j], dual[j])), j) for j in others]
        candidates = [{j: n} for n, j in steps if n != 0]
        candidates += [dict(zip(others, signs, strict=True)) for signs in itertools.product((-1, 0, 1), repeat=d - 1)]
        for candidate in candidates:
            vector = [x - sum(n * dual[j][a] for j, n in candidate.items()) for a, x in enumerate(dual[i])]
            if _dot(vector, vector) < length:
                dual[i] = vector
                for j, n in candidate.items():
                    # What is taken from a dual vector is given to the vectors of the basis, or they would not be dual.
                    change[j] = [x + n * y for x, y in zip(change[j], change[i], strict=True)]
                return True
    return False


def _dot(a: Vector, b: Vector) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))


def _cross(a: Vector, b: Vector) -> list[Fraction]:
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
