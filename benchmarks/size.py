"""The time and memory of one packing against its size: quench, Poisson's ratio, and all derivatives, on one core.

    python benchmarks/size.py --sizes 2048 16384
    python benchmarks/size.py --dimension 3 --sizes 4000 --density 1.2
    python benchmarks/size.py --sizes 102400 --repeat 10

With `--repeat k`, a smaller packing is quenched and repeated k times along each axis, which is a minimum of the larger
box. What is timed is then the factored Hessian of that minimum, Poisson's ratio and all derivatives.

Compilation is included: it is what a user waits for at first, and a small part at these sizes. Seconds of the core
are what a quiet machine takes; seconds of the wall clock depend on other load, which is printed.
"""

import argparse
import json
import os
import resource
import time
from typing import Any

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
from glasswright_plugins.potentials.harmonic_morse import HarmonicMorse
from glasswright_plugins.properties.poisson_ratio import PoissonRatio
from glasswright_plugins.protocols.quench import Quench


def measure(potential: gw.AbstractPotential, protocol: gw.AbstractProtocol, prepared: gw.Prepared) -> tuple[Any, Any]:
    """Poisson's ratio and its derivatives in all parameters of the potential."""

    @eqx.filter_jit
    def value_and_gradient(potential: gw.AbstractPotential, prepared: gw.Prepared) -> tuple[Any, Any]:
        return eqx.filter_value_and_grad(lambda p: PoissonRatio().measure(protocol.attach(p, prepared)))(potential)

    return jax.block_until_ready(value_and_gradient(potential, prepared))


def seconds() -> np.ndarray:
    """Seconds of the wall clock and of the core."""
    return np.array([time.perf_counter(), time.process_time()])


def repeated(configuration: gw.Configuration, k: int) -> gw.Configuration:
    """The packing repeated `k` times along each axis, its particles in random order."""
    d = configuration.dimension
    tiles = np.stack(np.meshgrid(*[np.arange(k)] * d, indexing="ij"), axis=-1).reshape(-1, 1, d)
    fractional = ((np.asarray(configuration.fractional) % 1.0 + tiles) / k).reshape(-1, d)
    species = np.tile(np.asarray(configuration.species), k**d)
    order = np.random.default_rng(0).permutation(len(species))
    return gw.Configuration(jnp.asarray(fractional[order]), k * configuration.box, jnp.asarray(species[order]))


def packing(arguments: argparse.Namespace, n: int) -> dict[str, Any]:
    """The times of one packing of `n` particles."""
    potential = HarmonicMorse(inverse_range=arguments.inverse_range)
    protocol = Quench(hessian=arguments.hessian, descent=arguments.descent)
    of_one = n // arguments.repeat**arguments.dimension
    system = gw.System(n_particles=of_one, dimension=arguments.dimension, density=arguments.density)
    start = system.start(jax.random.key(arguments.seed))
    begin = seconds()
    prepared = protocol.prepare(potential, start)
    quenched = seconds()
    result: dict[str, Any] = {
        "n": n,
        "quench": list(quenched - begin),
        "outcome": gw.Outcome(int(prepared.outcome)).name,
        "statistics": {name: int(number) for name, number in prepared.statistics.items()},
    }
    if arguments.repeat > 1:
        configuration = repeated(prepared.configuration, arguments.repeat)
        begin = seconds()
        memory = protocol.remember(potential, configuration)
        result["factor"] = list(seconds() - begin)
        result["is_stable"] = bool(memory.hessian.is_stable)
        prepared, quenched = gw.Prepared(configuration, gw.Outcome.converged, {}, memory), seconds()
    if prepared.accepted:
        value, gradient = measure(potential, protocol, prepared)
        result["measure"] = list(seconds() - quenched)
        result["poisson_ratio"] = float(value)
        norm = jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(gradient)))
        result["gradient_norm"] = float(norm)
    result["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    result["load"] = os.getloadavg()[0]
    return result


def main() -> None:
    """Print a line of JSON for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[368, 1024, 2048, 4096])
    parser.add_argument("--dimension", type=int, default=2)
    parser.add_argument("--density", type=float, default=1.6)
    parser.add_argument("--inverse-range", type=float, default=5.0)
    parser.add_argument("--hessian", default="auto")
    parser.add_argument("--descent", default="auto")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--core", type=int, default=None)
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    for n in arguments.sizes:
        print(json.dumps(packing(arguments, n)), flush=True)


if __name__ == "__main__":
    main()
