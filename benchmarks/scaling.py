"""The time of a quench against the number of particles: the native descent, XLA's loop, and LAMMPS `min_style fire`.

    python benchmarks/scaling.py --sizes 128 368 1024 4096 16384 --seeds 3 --json scaling.json --figure scaling.svg
    python benchmarks/scaling.py --dimension 3 --inverse-range 10 --sizes 1000 4000 --without lammps

All in one process on one core, from the same random starts to the same largest force component, in turn. Seconds are
those of the core, after a first quench of each size, which compiles. LAMMPS is set up as in `lammps_fire.py`.
"""

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import glasswright as gw
import jax
import lammps_fire
import numpy as np
from glasswright_plugins.potentials.harmonic_morse import HarmonicMorse
from glasswright_plugins.protocols.quench import Quench
from packing import Packing

# XLA's loop and LAMMPS take minutes above.
LARGEST = {"native": 2**30, "xla": 4096, "lammps": 32_768}
COLORS = {"native": "C0", "xla": "C1", "lammps": "C2"}

# A quench from a start: force evaluations and factorisations.
Quencher = Callable[[gw.Configuration], dict[str, int]]


def ours(potential: HarmonicMorse, descent: Any) -> Quencher:
    """Our quench with one of the loops."""
    protocol = Quench(descent=descent)

    def quench(start: gw.Configuration) -> dict[str, int]:
        prepared = protocol.prepare(potential, start)
        counts = {name: int(prepared.statistics[name]) for name in ("evaluations", "factorisations")}
        return counts | {"outcome": int(prepared.outcome)}

    return quench


def of_lammps(potential: HarmonicMorse, start: gw.Configuration) -> Quencher:
    """LAMMPS' quench."""
    packing = Packing(
        name="random",
        position=np.asarray(start.position),
        box_length=float(start.box[0, 0]),
        species=np.asarray(start.species),
        diameter=np.asarray(potential.diameter),
        binding_energy=np.asarray(potential.binding_energy),
        inverse_range=potential.inverse_range,
        stiffness=potential.stiffness,
        reference={},
    )
    engine = lammps_fire.Lammps(packing)

    def quench(start: gw.Configuration) -> dict[str, int]:
        relaxed = engine.quench(np.asarray(start.position))
        return {"evaluations": relaxed.force_evaluations, "outcome": int(relaxed.max_force >= engine.force_tolerance)}

    return quench


def measure(arguments: argparse.Namespace, n: int) -> list[dict[str, Any]]:
    """A record for each minimiser."""
    potential = HarmonicMorse(inverse_range=arguments.inverse_range)
    system = gw.System(n_particles=n, dimension=arguments.dimension, density=arguments.density)
    starts = [system.start(jax.random.key(seed)) for seed in range(arguments.seeds + 1)]
    quenchers: dict[str, Quencher] = {}
    for name in LARGEST:
        if n <= LARGEST[name] and name not in arguments.without:
            quenchers[name] = of_lammps(potential, starts[0]) if name == "lammps" else ours(potential, name)
    seconds: dict[str, list[float]] = {name: [] for name in quenchers}
    counts: dict[str, list[dict[str, int]]] = {name: [] for name in quenchers}
    for k, start in enumerate(starts):
        for name, quench in quenchers.items():
            if k == 0 and name == "lammps":
                continue
            begin = time.process_time()
            counted = quench(start)
            if k:
                seconds[name].append(time.process_time() - begin)
                counts[name].append(counted)
    return [
        {
            "n": n,
            "minimiser": name,
            "seconds": statistics.median(seconds[name]),
            "all_seconds": seconds[name],
            "evaluations": statistics.mean(c["evaluations"] for c in counts[name]),
            "factorisations": statistics.mean(c.get("factorisations", 0) for c in counts[name]),
            "failed": sum(c["outcome"] != 0 for c in counts[name]),
            "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            "load": os.getloadavg()[0],
        }
        for name in quenchers
    ]


def exponent(records: list[dict[str, Any]], name: str) -> float | None:
    """The slope of time against size in logarithms, over the largest three sizes."""
    points = [(r["n"], r["seconds"]) for r in records if r["minimiser"] == name][-3:]
    if len(points) < 2:
        return None
    return float(np.polyfit(*np.log(np.array(points)).T, 1)[0])


def draw(records: list[dict[str, Any]], path: str) -> None:
    """Time against size, with the exponents."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 3.3), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="particles", ylabel="seconds of a core for a quench")
    for name, color in COLORS.items():
        points = [(r["n"], r["seconds"]) for r in records if r["minimiser"] == name]
        if points:
            slope = exponent(records, name)
            label = name if slope is None else f"{name}: N^{slope:.2f}"
            axes.plot(*np.array(points).T, "o-", color=color, label=label)
    axes.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    """Print a line of JSON for each size and minimiser, then the exponents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 368, 1024, 2048, 4096])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--dimension", type=int, default=2)
    parser.add_argument("--density", type=float, default=1.6)
    parser.add_argument("--inverse-range", type=float, default=5.0)
    parser.add_argument("--without", nargs="*", default=[], choices=list(LARGEST))
    parser.add_argument("--core", type=int, default=None)
    parser.add_argument("--json")
    parser.add_argument("--figure")
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    records: list[dict[str, Any]] = []
    for n in arguments.sizes:
        for record in measure(arguments, n):
            records.append(record)
            print(json.dumps(record), flush=True)
    for name in LARGEST:
        print(f"{name}: exponent of the largest sizes {exponent(records, name)}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(records, file, indent=1)
    if arguments.figure:
        draw(records, arguments.figure)


if __name__ == "__main__":
    main()
