"""Time glasswright against the published recipe: one process, one core, same packings and seeds, alternating.

    python benchmarks/run.py [--repeats 7] [--steps 30] [--recipe-steps 5] [--core 0] [--json FILE]

Needs the `bench` extra. Absolute times depend on the machine and on what else runs on it; the ratios are what
to quote. The recipe is in `paper_recipe.py`, our side in `ours.py`.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

SINGLE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
# The target of the paper's Fig. 1d, from a packing that starts near 0.47.
TARGET = -0.1
# So short a call is timed several times for each one of the recipe's.
OURS_PER_RECIPE = 5


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time glasswright against the published recipe on one core.")
    parser.add_argument("--repeats", type=int, default=7, help="calls of the recipe, and seeds (default 7)")
    parser.add_argument("--steps", type=int, default=30, help="training steps of glasswright (default 30)")
    parser.add_argument("--recipe-steps", type=int, default=5, help="training steps of the recipe (default 5)")
    parser.add_argument("--core", type=int, help="the core to run on (default: the last one available)")
    parser.add_argument("--packing", default="2d_n368_sp2_a5", help="name of a reference packing")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write every single time there")
    options = parser.parse_args(arguments)
    if min(options.repeats, options.steps, options.recipe_steps) < 1:
        parser.error("--repeats, --steps and --recipe-steps must be at least 1")
    core = _use_one_core(options.core)

    # Only now: thread pools are made at import and at the first computation.
    import jax
    import packing

    try:
        import paper_recipe
    except ImportError as error:
        sys.exit(f"{error}: the recipe needs jax-md and jaxopt; install them with pip install -e '.[bench]'.")
    import ours

    hardware = _hardware(core) | {"jax": jax.__version__}
    print(f"{hardware['cpu']}, {hardware['threads']}; Python {hardware['python']}, jax {hardware['jax']}")
    print(f"packing {options.packing}; medians of seconds, spread in brackets; ratio = recipe / glasswright\n")

    chosen = packing.read_packing(options.packing)
    sides = {"recipe": paper_recipe.PaperRecipe(chosen, TARGET), "glasswright": ours.Ours(chosen, TARGET)}
    report: dict[str, Any] = {"hardware": hardware, "packing": options.packing, "work": {}}

    states, report["work"]["first training step, compiling"] = _first_step(sides)
    report["work"]["nu and derivatives at a known minimum"], report["accuracy"] = _known_minimum(
        sides, chosen, options.repeats
    )
    report["work"]["training step with hypergradient"], states, report["training"] = _training(
        sides, states, {"recipe": options.recipe_steps, "glasswright": options.steps}
    )
    report["work"]["fresh configuration from random positions"], report["fresh"] = _fresh(
        sides, chosen, options.repeats
    )
    report["profile"] = _profile(sides["glasswright"], states["glasswright"], report)

    _print_report(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def _use_one_core(core: int | None) -> int | None:
    """Single-threaded libraries, pinned to one core where the system can; returns that core."""
    if "jax" in sys.modules:
        sys.exit("jax is imported already: its threads cannot be limited any more.")
    os.environ.update(SINGLE_THREAD)
    # A cache would hide what compiling costs.
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    if not hasattr(os, "sched_setaffinity"):
        return None
    available = os.sched_getaffinity(0)
    if core is not None and core not in available:
        sys.exit(f"--core {core}: not available; possible: {', '.join(map(str, sorted(available)))}.")
    core = max(available) if core is None else core
    os.sched_setaffinity(0, {core})
    return core


def _hardware(core: int | None) -> dict[str, str]:
    model = platform.processor() or platform.machine()
    information = pathlib.Path("/proc/cpuinfo")
    if information.exists():
        names = [line.split(":", 1)[1].strip() for line in information.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    threads = "single-threaded BLAS and XLA"
    threads += f", pinned to core {core}" if core is not None else ", not pinned (the system has no affinity)"
    return {"cpu": model, "threads": threads, "python": platform.python_version()}


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds until the result is really there, and the result."""
    import jax

    start = time.perf_counter()
    result = jax.block_until_ready(work())
    return time.perf_counter() - start, result


def _first_step(sides):
    seconds, states = {}, {}
    for name, side in sides.items():
        elapsed, states[name] = _timed(lambda side=side: side.training_step(side.initial_training_state()))
        seconds[name] = [elapsed]
    return states, seconds


def _known_minimum(sides, chosen, repeats):
    import numpy as np

    accuracy = {}
    for name, side in sides.items():
        measurement = side.known_minimum()
        gradient = chosen.reference_gradient
        accuracy[name] = {
            "poisson_ratio": abs(measurement.poisson_ratio - chosen.reference["value"]["poisson_ratio"]),
            "gradient": float(np.linalg.norm(measurement.gradient - gradient) / np.linalg.norm(gradient)),
        }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            for _ in range(OURS_PER_RECIPE if name == "glasswright" else 1):
                seconds[name].append(_timed(side.known_minimum)[0])
    return seconds, accuracy


def _training(sides, states, steps):
    """Both sides go on from the same first step; one of the recipe's alternates with several of ours."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    losses: dict[str, list[float]] = {name: [] for name in sides}
    evaluations: dict[str, list[int]] = {name: [] for name in sides}
    rounds = steps["recipe"]
    for turn in range(rounds):
        for name, side in sides.items():
            share = steps[name] * (turn + 1) // rounds - steps[name] * turn // rounds
            for _ in range(share):
                state = states[name]
                elapsed, states[name] = _timed(lambda side=side, state=state: side.training_step(state))
                seconds[name].append(elapsed)
                losses[name].append(float(states[name].loss))
                evaluations[name].append(int(states[name].force_evaluations))
    return seconds, states, {"loss": losses, "force_evaluations": evaluations}


def _fresh(sides, chosen, repeats):
    """Seed 0 only warms up: the searches compile on it."""
    for side in sides.values():
        side.fresh_configuration(chosen.random_position(0))
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for seed in range(1, repeats + 1):
        position = chosen.random_position(seed)
        for name, side in sides.items():
            elapsed, found = _timed(lambda side=side, position=position: side.fresh_configuration(position))
            seconds[name].append(elapsed)
            results[name].append(
                {
                    "poisson_ratio": found.poisson_ratio,
                    "max_force": found.max_force,
                    "force_evaluations": found.force_evaluations,
                }
            )
    return seconds, results


def _profile(side, state, report) -> dict[str, float]:
    """Median seconds of the parts of one of our training steps."""
    profile = {}
    for name, piece in side.pieces(state).items():
        _timed(piece)
        profile[name] = statistics.median(_timed(piece)[0] for _ in range(15))
    whole = statistics.median(_timed(lambda: side.training_step(state))[0] for _ in range(15))
    profile["whole step"] = whole
    profile["host overhead"] = whole - sum(profile[name] for name in side.in_sequence)
    profile["force evaluations per step"] = statistics.median(report["training"]["force_evaluations"]["glasswright"])
    return profile


def _print_report(report) -> None:
    print(f"{'work':45s} {'recipe':>24s} {'glasswright':>26s} {'ratio':>7s}")
    for work, seconds in report["work"].items():
        recipe, ours = (statistics.median(seconds[name]) for name in ("recipe", "glasswright"))
        print(
            f"{work:45s} {_with_spread(seconds['recipe']):>24s} {_with_spread(seconds['glasswright']):>26s} "
            f"{recipe / ours:7.1f}"
        )
    print("\ndeviation from the reference values at the known minimum (gradient relative to its norm)")
    for name, accuracy in report["accuracy"].items():
        print(f"  {name:12s} nu {accuracy['poisson_ratio']:.1e}   gradient {accuracy['gradient']:.1e}")
    common = min(len(losses) for losses in report["training"]["loss"].values())
    ends = ", ".join(f"{name} {losses[common - 1]:.10f}" for name, losses in report["training"]["loss"].items())
    print(f"\nloss after the same {common + 1} training steps: {ends}")
    for name in ("recipe", "glasswright"):
        mean = statistics.mean(report["work"]["training step with hypergradient"][name])
        evaluations = statistics.mean(found["force_evaluations"] for found in report["fresh"][name])
        print(f"  {name:12s} mean training step {mean:.4f} s, {evaluations:.0f} evaluations a fresh quench")
    print("\none training step of glasswright")
    for part, value in report["profile"].items():
        text = f"{value:.0f}" if part.startswith("force evaluations") else f"{1e3 * value:.2f} ms"
        print(f"  {part:45s} {text:>10s}")


def _with_spread(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.4f} [{min(seconds):.4f}, {max(seconds):.4f}]"


if __name__ == "__main__":
    main()
