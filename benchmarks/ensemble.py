"""Throughput of fresh configurations: quench, Poisson's ratio and all derivatives, for ensembles of several sizes.

    python benchmarks/ensemble.py [--sizes 8 64 512 2000] [--seconds 30] [--only workers batched] [--width 512]
                                  [--profile DIR] [--json FILE]

`workers`: as a long `glasswright train` prepares them on CPUs, in worker processes that have a core of their own each;
one of them at a time and all of them, in turn. `batched`: many configurations in one program, for accelerators;
measured where there is one, elsewhere only when asked for. Absolute rates depend on the machine and on what else runs.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

# Before anything loads a BLAS or XLA: configurations are what runs in parallel here, not the products of matrices.
os.environ.update({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()

import equinox as eqx
import glasswright as gw
import jax
import numpy as np
from glasswright.evaluation.design import resolve_design
from glasswright.evaluation.ensemble import Ensemble
from glasswright.evaluation.problem import Model, Problem
from glasswright.execution import worker_pool
from glasswright.execution.executor import Executor
from glasswright_plugins.objectives.target import Target
from glasswright_plugins.potentials.harmonic_morse import HarmonicMorse
from glasswright_plugins.properties.poisson_ratio import PoissonRatio
from glasswright_plugins.protocols.quench import Quench
from packing import Packing, read_packing

BOUNDS = {"diameter": (0.1, 3.0), "binding_energy": (0.0, 10.0)}
# How often one core and all of them take turns.
ROUNDS = 3
PARTS = ("workers", "batched")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Configurations per second: quench, nu and all derivatives.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 64, 512, 2000], help="default 8 64 512 2000")
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="most time for each size in each part, compiling apart (default 30)"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, help="default: workers, and batched on an accelerator")
    parser.add_argument("--width", type=int, default=512, help="configurations side by side in a program (default 512)")
    parser.add_argument("--packing", default="2d_n368_sp2_a5", help="name of a reference packing, for its potential")
    parser.add_argument("--profile", type=pathlib.Path, metavar="DIR", help="write a trace of one batch of each part")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write every single time there")
    options = parser.parse_args(arguments)
    if min(*options.sizes, options.width, options.seconds) <= 0:
        parser.error("--sizes, --width and --seconds must be positive")
    accelerators = [device for device in jax.devices() if device.platform != "cpu"]
    parts = options.only or (PARTS if accelerators else PARTS[:1])
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))

    work = Work(read_packing(options.packing))
    report: dict[str, Any] = {"device": jax.devices()[0].device_kind, "cores": len(cores), "jax": jax.__version__}
    print(f"{report['device']}, {len(cores)} CPU cores, jax {report['jax']}; configurations per second\n")
    if "workers" in parts:
        with _on_cpu():
            report["workers"] = _workers(work, options.sizes, options.seconds, cores)
            if options.profile:
                with jax.profiler.trace(str(options.profile / "workers")), Executor(1, accelerators=[]) as executor:
                    work.ensemble.samples(executor, work.values, range(options.sizes[0]))
    if "batched" in parts:
        report["batched"] = _batched(work, options.sizes, options.seconds, options.width)
        if options.profile:
            with jax.profiler.trace(str(options.profile / "batched")):
                work.many(range(options.sizes[0]), options.width)
    if options.profile:
        print(f"traces of one batch of {options.sizes[0]}: {options.profile}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


class Work:
    """Fresh configurations by number: random positions, quench, Poisson's ratio, its derivatives by the design."""

    def __init__(self, packing: Packing):
        self.packing = packing
        self.potential = HarmonicMorse(
            n_species=len(packing.diameter),
            diameter=packing.diameter,
            binding_energy=packing.binding_energy,
            inverse_range=packing.inverse_range,
            stiffness=packing.stiffness,
        )
        self.protocol = Quench()
        model = Model(self.potential, _system(packing), self.protocol)
        # The target is not used: only values and gradients are asked for.
        terms = {"nu": gw.Term(PoissonRatio(), Target(0.0))}
        problem = Problem(model, resolve_design(model, BOUNDS), terms)
        self.ensemble = Ensemble(problem, seed=0)
        self.values = {name: np.asarray(value) for name, value in problem.initial_values.items()}
        self._measure_many = eqx.filter_jit(self._values_and_gradients)

    def many(self, indices: Sequence[int], width: int) -> tuple[int, float, float] | None:
        """Configurations side by side: how many count, seconds of preparing and of measuring; None if unsupported."""
        start = time.perf_counter()
        prepared = self.protocol.prepare_many(self.potential, self._starts(indices), width=width)
        if prepared is None:
            return None
        jax.block_until_ready(prepared)
        between = time.perf_counter()
        for first in range(0, len(indices), width):
            chunk = jax.tree.map(lambda x: x[first : first + width], prepared)  # noqa: B023
            jax.block_until_ready(self._measure_many(self.potential, chunk))
        accepted = int(np.sum(np.asarray(prepared.outcome) == gw.Outcome.converged))
        return accepted, between - start, time.perf_counter() - between

    def _starts(self, indices: Sequence[int]) -> gw.Configuration:
        packing, n = self.packing, len(indices)
        positions = np.stack([packing.random_position(index) for index in indices])
        return gw.Configuration(
            fractional=positions / packing.box_length,
            box=np.tile(packing.box_length * np.eye(packing.dimension), (n, 1, 1)),
            species=np.tile(packing.species, (n, 1)),
        )

    def _value_and_gradient(self, potential, prepared):
        def value(potential):
            return PoissonRatio().measure(self.protocol.attach(potential, prepared))

        measured, gradient = eqx.filter_value_and_grad(value)(potential)
        return measured, (gradient.diameter, gradient.binding_energy)

    def _values_and_gradients(self, potential, prepared):
        return jax.vmap(lambda sample: self._value_and_gradient(potential, sample))(prepared)


def _system(packing: Packing) -> gw.System:
    n, d = packing.species.shape[0], packing.dimension
    return gw.System(n_particles=n, n_species=len(packing.diameter), dimension=d, density=n / packing.box_length**d)


@contextlib.contextmanager
def _on_cpu() -> Iterator[None]:
    """Computations of all threads on the CPU, also where there is an accelerator."""
    before = jax.config.jax_default_device
    if jax.default_backend() != "cpu":
        jax.config.update("jax_default_device", jax.devices("cpu")[0])
    yield
    jax.config.update("jax_default_device", before)


def _workers(work: Work, sizes, seconds, cores) -> list[dict[str, Any]]:
    report = []
    # Workers from the first map on that was long enough: these are benchmarks of long runs.
    worker_pool.START_AFTER = 0.0
    with Executor(max(len(cores), 2), accelerators=[]) as everybody:
        # The same workers, one of them at a time.
        alone = Executor(1, accelerators=[], worker_pool=everybody.worker_pool)
        executors = {1: alone} | ({len(cores): everybody} if len(cores) > 1 else {})
        # Compiles, in every worker; pair lists come in a few sizes. The first round starts them.
        for _ in range(3):
            list(work.ensemble.rounds(everybody, work.values, range(8 * everybody.n_workers)))
            everybody.worker_pool.wait()
        heads = [f"{n} core" + "s" * (n > 1) for n in executors]
        print(f"{'CPU':10s}" + "".join(f"{head:>12s}" for head in heads) + f"{'speed-up':>10s}")
        for size in sizes:
            rounds: list[dict[int, float]] = []
            done, accepted = dict.fromkeys(executors, 0), dict.fromkeys(executors, 0)
            for _ in range(ROUNDS):
                rounds.append({})
                for n, executor in executors.items():
                    # Each goes on where its last turn ended, and begins anew once the batch is done.
                    rest = range(done[n] % size, size)
                    begin, number = time.perf_counter(), 0
                    for samples in work.ensemble.rounds(executor, work.values, rest):
                        number += len(samples)
                        accepted[n] += sum(sample.measurement is not None for sample in samples)
                        if time.perf_counter() - begin > seconds / (ROUNDS * len(executors)):
                            break
                    rounds[-1][n] = number / (time.perf_counter() - begin)
                    done[n] += number
            rates = {n: statistics.median(of_round[n] for of_round in rounds) for n in executors}
            speed_up = statistics.median(of_round[max(executors)] / of_round[1] for of_round in rounds)
            report.append(
                {"size": size, "rounds": rounds, "rates": rates, "speed_up": speed_up, "done": done}
                | {"accepted": accepted}
            )
            rejected = sum(done.values()) - sum(accepted.values())
            print(
                f"{size:<10d}"
                + "".join(f"{rate:12.2f}" for rate in rates.values())
                + f"{speed_up:10.2f}   run: {' and '.join(map(str, done.values()))}, rejected: {rejected}",
                flush=True,
            )
    print()
    return report


def _batched(work: Work, sizes, seconds, width) -> list[dict[str, Any]]:
    report: list[dict[str, Any]] = []
    print(f"{'batched':10s}{'per second':>12s}{'ms each':>12s}{'preparing s':>12s}{'measuring s':>12s}   width {width}")
    for size in sizes:
        # A second per configuration until there is something to go by.
        expected = size / report[-1]["rate"] if report else float(size)
        if expected > seconds:
            print(f"{size:<10d}skipped: about {expected:.0f} s expected, --seconds is {seconds:g}")
            continue
        # Compiles, which the size and the width need anew.
        if work.many(range(size), width) is None:
            print("this protocol prepares one configuration at a time only")
            break
        accepted, preparing, measuring = work.many(range(size, 2 * size), width)
        rate = size / (preparing + measuring)
        report.append(
            {"size": size, "rate": rate, "preparing": preparing, "measuring": measuring, "accepted": accepted}
        )
        numbers = f"{rate:12.2f}{1e3 / rate:12.3f}{preparing:12.3f}{measuring:12.3f}"
        print(f"{size:<10d}{numbers}   rejected: {size - accepted}", flush=True)
    print()
    return report


if __name__ == "__main__":
    main()
