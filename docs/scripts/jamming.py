"""Contacts and packing fraction of jammed disks against the pressure, and what they are where it vanishes."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import glasswright as gw
import jax
import numpy as np
from glasswright.plots.style import COLOURS
from glasswright_plugins.potentials.soft_sphere import SoftSphere
from glasswright_plugins.protocols.quench import Quench
from matplotlib.figure import Figure
from packings import IMAGES, canvas

DIAMETERS = (1.0, 1.4)
# Packing fraction of the random starts, above jamming.
START = 0.9


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare packings at falling pressures, each from the one before; print and draw what they have in common."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("--n", type=int, default=20, help="packings")
    options.add_argument("--n-particles", type=int, default=256, help="particles in each")
    options.add_argument("--seed", type=int, default=0, help="seed of their random starts")
    options.add_argument("--largest", type=float, default=1e-2, help="the largest pressure")
    options.add_argument("--smallest", type=float, default=1e-5, help="the smallest pressure")
    options.add_argument("--pressures", type=int, default=7, help="how many pressures, evenly spaced in logarithm")
    options.add_argument("--output", type=Path, default=IMAGES / "jamming.png", help="the figure")
    options = options.parse_args(arguments)
    pressures = np.geomspace(options.largest, options.smallest, options.pressures)
    potential = SoftSphere(diameter=DIAMETERS)
    area = np.pi / 4.0 * np.mean(np.square(DIAMETERS))
    system = gw.System(n_particles=options.n_particles, density=START / area)
    rows = []
    for k in range(options.n):
        packing = system.start(jax.random.fold_in(jax.random.key(options.seed), k))
        row = []
        for pressure in pressures:
            prepared = Quench(pressure=pressure, box="flexible").prepare(potential, packing)
            packing = prepared.configuration
            row.append([*contacts(potential, packing), float(area * packing.n_particles / packing.volume)])
            if not prepared.accepted:
                print(f"packing {k} at p = {pressure:.1e}: {gw.Outcome(int(prepared.outcome)).name}")
                row[-1] = [np.nan] * 3
        rows.append(row)
        print(f"packing {k}: {np.round(row[-1], 5).tolist()}", flush=True)
    excess, rattlers, fraction = np.moveaxis(np.asarray(rows), -1, 0)
    report(pressures, excess, rattlers, fraction)
    draw(pressures, excess, fraction).savefig(options.output, dpi=130)


def contacts(potential: SoftSphere, packing: gw.Configuration) -> tuple[float, float]:
    """Contacts per particle above the isostatic number, and the share of rattlers, which have fewer than three.

    Contacts of rattlers do not count. The isostatic number in a box of free shape is that of as many contacts as
    there are degrees of freedom, and one more: `d N - d + d (d + 1) / 2` for `N` particles that are no rattlers.
    """
    n, d = packing.fractional.shape
    i, j = np.triu_indices(n, 1)
    distance = np.linalg.norm(np.asarray(packing.displacement(i, j)), axis=1)
    diameter = np.asarray(potential.diameter)[np.asarray(packing.species)]
    touch = distance < 0.5 * (diameter[i] + diameter[j])
    i, j = i[touch], j[touch]
    rattler = np.zeros(n, dtype=bool)
    while True:
        kept = ~(rattler[i] | rattler[j])
        count = np.bincount(np.concatenate([i[kept], j[kept]]), minlength=n)
        more = ~rattler & (count < d + 1)
        if not np.any(more):
            break
        rattler |= more
    rigid = n - np.sum(rattler)
    isostatic = d * rigid - d + d * (d + 1) / 2
    return 2.0 * (np.sum(kept) - isostatic) / rigid, float(np.mean(rattler))


def report(pressures: np.ndarray, excess: np.ndarray, rattlers: np.ndarray, fraction: np.ndarray) -> None:
    """Print means, the exponent of the excess, and the packing fraction at zero pressure."""
    for k, pressure in enumerate(pressures):
        print(
            f"p = {pressure:.2e}: z - z_iso {np.nanmean(excess[:, k]):.4f}, rattlers {np.nanmean(rattlers[:, k]):.3f}, "
            f"phi {np.nanmean(fraction[:, k]):.5f}, of {np.sum(np.isfinite(excess[:, k]))}"
        )
    positive = np.nanmean(excess, axis=0) > 0
    slope, _ = np.polyfit(np.log(pressures[positive]), np.log(np.nanmean(excess, axis=0)[positive]), 1)
    print(f"z - z_iso ~ p^{slope:.3f}")
    jammed = at_zero(pressures, fraction)
    error = np.std(jammed, ddof=1) / np.sqrt(len(jammed)) if len(jammed) > 1 else np.nan
    print(f"phi at p = 0: {np.mean(jammed):.4f} +- {error:.4f}")


def at_zero(pressures: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """The packing fraction of each packing extrapolated to zero pressure, linearly in the two smallest."""
    p, phi = pressures[-2:], fraction[:, -2:]
    phi = phi[np.all(np.isfinite(phi), axis=1)]
    return phi[:, 1] - (phi[:, 0] - phi[:, 1]) * p[1] / (p[0] - p[1])


def draw(pressures: np.ndarray, excess: np.ndarray, fraction: np.ndarray) -> Figure:
    """Plot contacts and packing fraction against the pressure."""
    figure = canvas(11.0, 4.2)
    left, right = figure.subplots(1, 2)
    mean = np.nanmean(excess, axis=0)
    left.loglog(pressures, mean, "o", color=COLOURS[0], label="mean of all packings")
    left.loglog(pressures, mean[0] * np.sqrt(pressures / pressures[0]), "k:", label="root of the pressure")
    left.set(xlabel="pressure", ylabel="contacts above isostatic, per particle")
    right.plot(pressures, fraction.T, color=COLOURS[1], alpha=0.4)
    right.axhline(float(np.mean(at_zero(pressures, fraction))), color="k", linestyle=":", label="extrapolated to p = 0")
    right.set(xscale="log", xlabel="pressure", ylabel="packing fraction")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
