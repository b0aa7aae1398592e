"""The packings that both sides of the benchmark work on."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

REFERENCE = pathlib.Path(__file__).parents[1] / "tests" / "reference"


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Poisson's ratio of one relaxed configuration, and its derivatives by diameter, then binding energy."""

    poisson_ratio: float
    gradient: np.ndarray
    position: Any
    max_force: float
    force_evaluations: int


@dataclasses.dataclass(frozen=True)
class Packing:
    """A relaxed packing with the parameters of its harmonic-Morse potential and independently known values.

    **Attributes:**

    - `name`: stem of the two files it was read from.
    - `position`: relaxed positions, shape `(n, d)`.
    - `box_length`: edge of the periodic cubic box (a square in two dimensions).
    - `species`: species index of each particle, shape `(n,)`.
    - `diameter`, `binding_energy`: per species, and per pair of species (packed upper triangle, by row).
    - `inverse_range`, `stiffness`: the potential's fixed parameters.
    - `reference`: everything in the packing's JSON file.
    """

    name: str
    position: np.ndarray
    box_length: float
    species: np.ndarray
    diameter: np.ndarray
    binding_energy: np.ndarray
    inverse_range: float
    stiffness: float
    reference: dict[str, Any]

    @property
    def n_particles(self) -> int:
        return self.position.shape[0]

    @property
    def dimension(self) -> int:
        return self.position.shape[1]

    @property
    def reference_gradient(self) -> np.ndarray:
        """Known derivatives of Poisson's ratio: by diameter, then by packed binding energy."""
        gradient = self.reference["gradient"]["poisson_ratio"]
        return np.concatenate([gradient["diameter"], gradient["binding_energy"]])

    def random_position(self, seed: int) -> np.ndarray:
        """Uniformly random positions in the same box, the same for every caller with the same seed."""
        generator = np.random.default_rng(seed)
        return generator.uniform(0.0, self.box_length, size=self.position.shape)

    def largest_distance(self, first: np.ndarray, second: np.ndarray) -> float:
        """How far apart a particle is in two sets of positions at most, apart from a drift of all."""
        difference = first - second
        difference -= self.box_length * np.round(difference / self.box_length)
        difference -= np.mean(difference, axis=0)
        return float(np.max(np.linalg.norm(difference, axis=1)))


def read_packing(name: str = "2d_n368_sp2_a5") -> Packing:
    """Read one of the reference packings."""
    reference = json.loads((REFERENCE / f"{name}.json").read_text())
    lines = (REFERENCE / f"{name}.extxyz").read_text().splitlines()[2:]
    rows = [line.split() for line in lines if line.strip()]
    labels = sorted({row[0] for row in rows})
    dimension = reference["dimension"]
    potential = reference["potential"]
    return Packing(
        name=name,
        position=np.array([[float(number) for number in row[1 : 1 + dimension]] for row in rows]),
        box_length=float(reference["box_length"]),
        species=np.array([labels.index(row[0]) for row in rows]),
        diameter=np.array(potential["diameter"]),
        binding_energy=np.array(potential["binding_energy"]),
        inverse_range=float(potential["inverse_range"]),
        stiffness=float(potential["stiffness"]),
        reference=reference,
    )
