"""Packings of one's own as the starts of a run."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
from glasswright.run.packings import read_packings
from jaxtyping import Array, Float, Int, PRNGKeyArray


class Frames:
    """The packings of a file with the same number of particles, as NumPy arrays with a leading axis over packings.

    Two of them are equal if their contents are: compiled functions take them for a constant.
    """

    def __init__(self, packings: Sequence[gw.Configuration]):
        self.stacked: gw.Configuration = jax.tree.map(lambda *leaves: np.stack(leaves), *packings)
        digest = hashlib.sha256()
        for name, leaf in jax.tree_util.tree_leaves_with_path(self.stacked):
            digest.update(jax.tree_util.keystr(name).encode() + leaf.tobytes())
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return int(self.stacked.fractional.shape[0])

    def __getitem__(self, index: int) -> gw.Configuration:
        frame: gw.Configuration = jax.tree.map(lambda leaf: jnp.asarray(leaf[index]), self.stacked)
        return frame

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frames) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"{len(self)} packings"


class FileSystem(gw.AbstractSystem):
    """The packings of a file, in its order: configuration 0 starts from the first, 1 from the second.

    Number of particles, species, box and dimension are those of the file: extended XYZ, GSD, LAMMPS data or dump, or
    whatever else ASE reads; text may be compressed. Each packing has its own box, whose density cannot be trained. All
    must have the same number of particles. Trainings, validations and analyses that ask for more packings than there
    are in the file are refused, and so are samplers that draw fresh ones.

    **Arguments:**

    - `path`: the file.
    - `species`: the labels of the file in the order of the species, `[A,B]`; left out, in sorted order. Fewer species
      may occur than are named.
    """

    path: str = eqx.field(static=True)
    species: tuple[str, ...] | None = eqx.field(static=True)
    n_particles: int = eqx.field(static=True)
    n_species: int = eqx.field(static=True)
    dimension: int = eqx.field(static=True)
    density: float = eqx.field(static=True)
    frames: Frames = eqx.field(static=True)

    def __init__(self, path: str | Path, species: Sequence[str | int] | None = None):
        labels = None if species is None else [str(label) for label in species]
        if labels is not None and (not labels or len(set(labels)) < len(labels)):
            raise ValueError(f"file(species={labels}): must be different labels, one for each species.")
        packings = read_packings(path, "system.path", labels)
        sizes = {packing.fractional.shape for packing in packings}
        if len(sizes) > 1:
            numbers = " and ".join(f"{n} particles in {d} dimensions" for n, d in sorted(sizes))
            raise gw.RequestError(f"system.path={path}: its packings have {numbers}; they must be of one size")
        if len({tuple(sorted(packing.disorder)) for packing in packings}) > 1:
            raise gw.RequestError(f"system.path={path}: some of its packings have disorder that others have not")
        self.path, self.species = str(path), None if labels is None else tuple(labels)
        self.frames = Frames(packings)
        self.n_particles, self.dimension = packings[0].fractional.shape
        present = int(np.max(self.frames.stacked.species)) + 1
        self.n_species = present if labels is None else len(labels)
        self.density = float(self.n_particles / packings[0].volume)

    @property
    def n_configurations(self) -> int:
        """The number of packings in the file."""
        return len(self.frames)

    @property
    def species_counts(self) -> tuple[int, ...] | None:
        """The number of particles of each species, if it is the same in all packings."""
        counts = {tuple(np.bincount(s, minlength=self.n_species).tolist()) for s in self.frames.stacked.species}
        return counts.pop() if len(counts) == 1 else None

    @property
    def box(self) -> Float[Array, "d d"]:
        """The narrowest box of the file."""
        boxes = self.frames.stacked.box
        widths = 1.0 / np.max(np.linalg.norm(np.linalg.inv(boxes), axis=-1), axis=-1)
        return jnp.asarray(boxes[int(np.argmin(widths))])

    @property
    def largest_particles(self) -> gw.Configuration:
        """A particle of each species, as large as the largest of the file."""
        disorder = {}
        factor = self.frames.stacked.disorder.get("diameter_factor")
        if factor is not None:
            disorder["diameter_factor"] = jnp.full(self.n_species, np.max(factor))
        sites = jnp.zeros((self.n_species, self.dimension))
        return gw.Configuration(sites, self.box, jnp.arange(self.n_species), disorder)

    def start(self, key: PRNGKeyArray, index: int | Int[Array, ""] = 0) -> gw.Configuration:
        """The packing of that number in the file, whatever the key."""
        return self.frames[int(index)]

    def in_box(self, configuration: gw.Configuration) -> gw.Configuration:
        """The configuration itself, in the box that it has."""
        return configuration
