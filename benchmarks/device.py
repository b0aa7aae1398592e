"""Check an accelerator against the CPU, and measure how many fresh configurations a second it prepares.

    python benchmarks/device.py [--small] [--sizes 8 64 512 2000] [--statistics 400] [--limit 440] [--profile DIR]
                                [--json FILE]

One command for the first minutes with a GPU. It says what was found, ends with exit code 1 if a check fails, and stops
measuring rates after `--limit` seconds. Without an accelerator the CPU takes its place: all but the rates is then the
same, which `--small` shows within minutes.

Checks:

- `gradients`: at the stored minima of `tests/reference`, values and derivatives of the device's program for batches and
  of the CPU's for single packings agree to 1e-9 of their norm.
- `accounting`: of every batch each configuration is there once, in order, and is either measured or rejected; the width
  of a batch changes the number of no outcome by more than rounding does.
- `statistics`: means of Poisson's ratio, pressure and energy of packings of the device and of the CPU, from other
  starts, agree within four standard errors; and so do the shares of rejected ones.

Rates count whole configurations: start, quench, Poisson's ratio and all derivatives, as `glasswright train` has them.
"""

import argparse
import contextlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

os.environ.update({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()

import glasswright as gw
import jax
import numpy as np
from glasswright.evaluation.ensemble import Ensemble
from glasswright.evaluation.measurement import Sample, measure_many_with_gradients, measure_on_host
from glasswright.execution.executor import Executor
from glasswright.execution.workers import available_cores
from packing import read_packing

PACKINGS = ("2d_n368_sp2_a5", "3d_n256_sp2_a10")
# Of the norm of a value, or of a gradient.
TOLERANCE = 1e-9
# Standard errors by which two means may differ.
MOST_ERRORS = 4.0
PROPERTIES = ("poisson_ratio", "pressure", "energy_per_particle")
# The device's packings of the statistics begin here, the CPU's with zero: no start is used twice.
FIRST_OF_DEVICE = 10_000
# Seconds of one rate at most, compiling apart.
SECONDS_OF_A_SIZE = 45.0

Check = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Checks and rates of an accelerator.")
    parser.add_argument("--small", action="store_true", help="few small packings: shows that everything works")
    parser.add_argument("--sizes", type=int, nargs="+", help="configurations of a batch (default 8 64 512 2000)")
    parser.add_argument("--statistics", type=int, help="packings of the device and of the CPU (default 400)")
    parser.add_argument("--limit", type=float, default=440.0, help="seconds until no further rate begins (default 440)")
    parser.add_argument("--profile", type=pathlib.Path, metavar="DIR", help="write a trace of the smallest batch there")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write everything there")
    options = parser.parse_args(arguments)
    sizes = options.sizes or ([2, 4] if options.small else [8, 64, 512, 2000])
    n_statistics = options.statistics or (6 if options.small else 400)
    if min(*sizes, n_statistics, options.limit) <= 0:
        parser.error("--sizes, --statistics and --limit must be positive")
    begin = time.perf_counter()
    device = jax.devices()[0]
    report: dict[str, Any] = {
        "device": f"{device.platform}: {device.device_kind}",
        "cores": available_cores(),
        "jax": jax.__version__,
        "accelerator": device.platform != "cpu",
        "small": options.small,
        "checks": {},
        "rates": [],
    }
    print(f"{report['device']}, {report['cores']} CPU cores, jax {report['jax']}")
    if not report["accelerator"]:
        print("there is no accelerator: the CPU takes its place, and rates say nothing about one")
    ensemble, values = _ensemble(64 if options.small else 368)
    checks: dict[str, Callable[[], Check]] = {
        "gradients": lambda: _gradients(device, PACKINGS[:1] if options.small else PACKINGS),
        "accounting": lambda: _accounting(ensemble, values, device, 5 if options.small else 64),
        "statistics": lambda: _statistics(ensemble, values, device, n_statistics),
    }
    for name, check in checks.items():
        start = time.perf_counter()
        report["checks"][name] = check() | {"seconds": time.perf_counter() - start}
        _say(name, report["checks"][name])
    print(f"\n{'batch':>8s}{'per second':>12s}{'converged':>11s}{'first, s':>10s}{'then, s':>9s}{'memory, GB':>12s}")
    for size in sizes:
        if time.perf_counter() - begin > options.limit:
            print(f"{size:8d}  left out: {options.limit:g} s are over")
            continue
        report["rates"].append(_rate(ensemble, values, device, size))
        print(
            "{size:8d}{per_second:12.2f}{converged:11d}{first:10.1f}{then:9.2f}{memory:12.2f}".format(
                **report["rates"][-1]
            )
        )
    if options.profile:
        with jax.profiler.trace(str(options.profile)):
            _samples(ensemble, values, device, range(sizes[0]))
        print(f"trace of a batch of {sizes[0]}: {options.profile}")
    report["seconds"] = time.perf_counter() - begin
    print(f"{report['seconds']:.0f} s in all")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(check["passed"] for check in report["checks"].values()) else 1


def _ensemble(n_particles: int) -> tuple[Ensemble, dict[str, Any]]:
    """Fresh packings of the paper's potential, and the initial values of its design variables."""
    targets = [f"terms.{name}.objective.target=0" for name in PROPERTIES]
    experiment = gw.build(
        gw.compose(
            "experiment=ensemble_poisson",
            f"system.n_particles={n_particles}",
            f"property=[{','.join(PROPERTIES)}]",
            *targets,
        )
    )
    problem = experiment.problem
    return Ensemble(problem, seed=0), {name: np.asarray(value) for name, value in problem.initial_values.items()}


def _samples(
    ensemble: Ensemble, values: dict[str, Any], device: jax.Device | None, indices: Sequence[int]
) -> list[Sample]:
    """Configurations prepared in batches on a device, or one at a time on the cores of the CPU (None)."""
    accelerators = [] if device is None else [device]
    n_workers = 1 if device is not None else available_cores()
    with Executor(n_workers, accelerators=accelerators) as executor:
        return ensemble.samples(executor, values, indices)


def _gradients(device: jax.Device, names: Sequence[str]) -> Check:
    """Values and derivatives at stored minima: in a batch on the device, and alone on the CPU."""
    worst = 0.0
    for name in names:
        packing = read_packing(name)
        overrides = [
            f"system.n_particles={packing.n_particles}",
            f"system.dimension={packing.dimension}",
            f"system.density={packing.n_particles / packing.box_length**packing.dimension!r}",
            f"potential.diameter={packing.diameter.tolist()}",
            f"potential.binding_energy={packing.binding_energy.tolist()}",
            f"potential.inverse_range={packing.inverse_range!r}",
            f"potential.stiffness={packing.stiffness!r}",
            f"property=[{','.join(PROPERTIES)}]",
            *(f"terms.{term}.objective.target=0" for term in PROPERTIES),
        ]
        problem = gw.build(gw.compose("experiment=single_poisson", *overrides)).problem
        model, values = problem.model, {name: np.asarray(value) for name, value in problem.initial_values.items()}
        configuration = gw.Configuration(
            fractional=packing.position / packing.box_length,
            box=packing.box_length * np.eye(packing.dimension),
            species=packing.species,
        )
        with _on_cpu():
            prepared = model.protocol.prepare(model.potential, configuration, key=jax.random.key(0))
            alone = jax.device_get(measure_on_host(problem, values, prepared, name, gradients=True))
        bare = gw.Prepared(prepared.configuration, prepared.outcome)
        two = jax.tree.map(lambda x: np.stack([np.asarray(x)] * 2), bare)
        with jax.default_device(device):
            # Prepared anew from the minimum, as a batch is, for the cache that it is measured with.
            keys = jax.random.split(jax.random.key(0), 2)
            batch = model.protocol.prepare_many(model.potential, two.configuration, width=2, keys=keys)
            if batch is None:
                return {"passed": False, "why": "the protocol prepares no batches"}
            batch = gw.Prepared(batch.configuration, batch.outcome, {}, batch.memory)
            together = jax.device_get(measure_many_with_gradients(problem, values, batch))
        for term in PROPERTIES:
            of_value = abs(together.values[term][0] - alone.values[term]) / abs(alone.values[term])
            ours = np.concatenate([np.ravel(together.gradients[term][key][0]) for key in values])
            theirs = np.concatenate([np.ravel(alone.gradients[term][key]) for key in values])
            of_gradient = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
            worst = max(worst, float(of_value), float(of_gradient))
    return {"passed": worst <= TOLERANCE, "worst": worst, "tolerance": TOLERANCE, "packings": list(names)}


def _accounting(ensemble: Ensemble, values: dict[str, Any], device: jax.Device, number: int) -> Check:
    """Every configuration is there once, and is measured or rejected."""
    samples = _samples(ensemble, values, device, range(number))
    complete = [sample.index for sample in samples] == list(range(number))
    counted = all((sample.measurement is not None) == (sample.outcome == gw.Outcome.converged) for sample in samples)
    outcomes = {outcome.name: sum(s.outcome == outcome for s in samples) for outcome in gw.Outcome}
    finite = all(np.isfinite(s.measurement.values[name]) for s in samples if s.measurement for name in PROPERTIES)
    passed = complete and counted and finite and sum(outcomes.values()) == number and outcomes["converged"] > 0
    return {"passed": passed, "requested": number, "outcomes": {name: n for name, n in outcomes.items() if n}}


def _statistics(ensemble: Ensemble, values: dict[str, Any], device: jax.Device, number: int) -> Check:
    """Means over packings of the device, and of the CPU."""
    on_device = _samples(ensemble, values, device, range(FIRST_OF_DEVICE, FIRST_OF_DEVICE + number))
    with _on_cpu():
        on_cpu = _samples(ensemble, values, None, range(number))
    distances, means = {}, {}
    for name in PROPERTIES:
        ours, theirs = (
            np.asarray([s.measurement.values[name] for s in samples if s.measurement is not None])
            for samples in (on_device, on_cpu)
        )
        error = np.sqrt(np.var(ours, ddof=1) / len(ours) + np.var(theirs, ddof=1) / len(theirs))
        means[name] = [float(np.mean(ours)), float(np.mean(theirs)), float(error)]
        distances[name] = float(abs(np.mean(ours) - np.mean(theirs)) / error)
    shares = [sum(s.measurement is None for s in samples) / number for samples in (on_device, on_cpu)]
    share = sum(shares) / 2
    # One packing at least: no share of none is known better than that.
    of_shares = np.sqrt(2.0 * max(share * (1.0 - share), 1.0 / number) / number)
    distances["rejected"] = float(abs(shares[0] - shares[1]) / of_shares)
    worst = max(distances.values())
    return {
        "passed": worst <= MOST_ERRORS,
        "worst": worst,
        "tolerance": MOST_ERRORS,
        "means": means,
        "rejected": shares,
    }


def _rate(ensemble: Ensemble, values: dict[str, Any], device: jax.Device, size: int) -> dict[str, Any]:
    """Configurations a second in batches of a size; the first batch compiles."""
    start = time.perf_counter()
    _samples(ensemble, values, device, range(size))
    first = time.perf_counter() - start
    times, converged = [], 0
    while not times or (len(times) < 3 and sum(times) + first < SECONDS_OF_A_SIZE):
        start = time.perf_counter()
        begin = (len(times) + 1) * size
        samples = _samples(ensemble, values, device, range(begin, begin + size))
        times.append(time.perf_counter() - start)
        converged = sum(sample.measurement is not None for sample in samples)
    then = float(np.median(times))
    memory = (device.memory_stats() or {}).get("peak_bytes_in_use", 0) / 2**30
    return {
        "size": size,
        "per_second": size / then,
        "converged": converged,
        "first": first,
        "then": then,
        "times": times,
        "memory": memory,
    }


@contextlib.contextmanager
def _on_cpu() -> Iterator[None]:
    """Computations of all threads on the CPU, also where there is an accelerator."""
    before = jax.config.jax_default_device
    if jax.default_backend() != "cpu":
        jax.config.update("jax_default_device", jax.devices("cpu")[0])
    try:
        yield
    finally:
        jax.config.update("jax_default_device", before)


def _say(name: str, check: Check) -> None:
    """A check in one line."""
    verdict = "passed" if check["passed"] else "FAILED"
    rest = ", ".join(f"{key} {value}" for key, value in check.items() if key not in ("passed", "seconds"))
    print(f"{name:12s}{verdict} in {check['seconds']:.1f} s: {rest}")


if __name__ == "__main__":
    sys.exit(main())
