"""Time glasswright against the published recipe and LAMMPS: one process, one core, same seeds, alternating.

    python benchmarks/run.py [--only known step fresh lammps] [--seeds 32] [--repeats 7] [--steps 30]
                             [--recipe-steps 5] [--core 0] [--clock wall] [--json FILE]

Needs the `bench` extra, and for the last section LAMMPS (see `lammps_fire.py`). Absolute times depend on the machine
and on what else runs on it; the ratios are what to quote. The recipe is in `paper_recipe.py`, our side in `ours.py`.
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
# A quench is as short as what other programs may disturb: its time is the median of this many runs from the same start.
QUENCHES = 3
# Everything here runs on one thread of one process, so that processor time is wall time without interruptions.
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
SECTIONS = {
    "known": "nu and derivatives at a known minimum",
    "step": "training step with hypergradient, and its parts",
    "fresh": "fresh configurations from random positions: quench, nu and derivatives",
    "lammps": "the quench of fresh configurations alone, against LAMMPS",
}
KNOWN, FIRST_STEP, STEP = (
    "nu and derivatives at a known minimum",
    "first training step, compiling",
    "training step with hypergradient",
)
FRESH, QUENCH = "fresh configuration from random positions", "quench alone"


Clock = Callable[[], float]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Time glasswright against the published recipe and LAMMPS on one core."
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SECTIONS,
        default=list(SECTIONS),
        metavar="SECTION",
        help="; ".join(f"{name}: {what}" for name, what in SECTIONS.items()) + " (default: all)",
    )
    parser.add_argument("--seeds", type=int, default=32, help="random starts of `fresh` and `lammps` (default 32)")
    parser.add_argument("--repeats", type=int, default=7, help="calls of the recipe in `known` (default 7)")
    parser.add_argument("--steps", type=int, default=30, help="training steps of glasswright (default 30)")
    parser.add_argument("--recipe-steps", type=int, default=5, help="training steps of the recipe (default 5)")
    parser.add_argument("--core", type=int, help="the core to run on (default: the last one available)")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="wall time, or the processor's (cpu): where other programs share the core (default wall)",
    )
    parser.add_argument("--packing", default="2d_n368_sp2_a5", help="name of a reference packing")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write every single time there")
    options = parser.parse_args(arguments)
    if min(options.seeds, options.repeats, options.steps, options.recipe_steps) < 1:
        parser.error("--seeds, --repeats, --steps and --recipe-steps must be at least 1")
    core = _use_one_core(options.core)

    # Only now: thread pools are made at import and at the first computation.
    import jax
    import ours
    import packing

    chosen = packing.read_packing(options.packing)
    sides: dict[str, Any] = {"glasswright": ours.Ours(chosen, TARGET)}
    if set(options.only) != {"lammps"}:
        try:
            import paper_recipe
        except ImportError as error:
            sys.exit(f"{error}: the recipe needs jax-md and jaxopt; install them with pip install -e '.[bench]'.")
        # The recipe first: at each seed and step it comes before ours.
        sides = {"recipe": paper_recipe.PaperRecipe(chosen, TARGET), **sides}

    hardware = _hardware(core) | {"jax": jax.__version__}
    print(f"{hardware['cpu']}, {hardware['threads']}; Python {hardware['python']}, jax {hardware['jax']}")
    print(f"packing {options.packing}; medians of seconds ({options.clock}), spread in brackets\n")
    report: dict[str, Any] = {
        "hardware": hardware,
        "packing": options.packing,
        "clock": options.clock,
        "work": {},
        "ratios": {},
    }
    clock = CLOCKS[options.clock]

    if "known" in options.only:
        report["work"][KNOWN], report["accuracy"] = _known_minimum(clock, sides, chosen, options.repeats)
    if "step" in options.only:
        states, report["work"][FIRST_STEP] = _first_step(clock, sides)
        report["work"][STEP], states, report["training"] = _training(
            sides, states, {"recipe": options.recipe_steps, "glasswright": options.steps}
        )
        report["profile"] = _profile(clock, sides["glasswright"], states["glasswright"], report)
    if "fresh" in options.only:
        report["work"][FRESH], report["fresh"] = _fresh(clock, sides, chosen, options.seeds)
        report["ratios"]["recipe / glasswright, fresh configuration"] = _ratios(report["work"][FRESH])
    if "lammps" in options.only:
        _lammps(clock, sides["glasswright"], chosen, options.seeds, report)

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


def _timed(clock: Clock, work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds until the result is really there, and the result."""
    import jax

    start = clock()
    result = jax.block_until_ready(work())
    return clock() - start, result


def _first_step(clock, sides):
    seconds, states = {}, {}
    for name, side in sides.items():
        elapsed, states[name] = _timed(clock, lambda side=side: side.training_step(side.initial_training_state()))
        seconds[name] = [elapsed]
    return states, seconds


def _known_minimum(clock, sides, chosen, repeats):
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
                seconds[name].append(_timed(clock, side.known_minimum)[0])
    return seconds, accuracy


def _training(clock, sides, states, steps):
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
                elapsed, states[name] = _timed(clock, lambda side=side, state=state: side.training_step(state))
                seconds[name].append(elapsed)
                losses[name].append(float(states[name].loss))
                evaluations[name].append(int(states[name].force_evaluations))
    return seconds, states, {"loss": losses, "force_evaluations": evaluations}


def _fresh(clock, sides, chosen, n_seeds):
    """Seed by seed: first the recipe, then ours, whose time is the median of some calls."""
    seeds = range(1, n_seeds + 1)
    # Seed 0 only warms up. Our pair lists come in a few sizes, and each is compiled once: that is no part of this.
    sides["recipe"].fresh_configuration(chosen.random_position(0))
    for seed in (0, *seeds):
        sides["glasswright"].fresh_configuration(chosen.random_position(seed))
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for seed in seeds:
        position = chosen.random_position(seed)
        for name, side in sides.items():
            calls = [
                _timed(clock, lambda side=side, position=position: side.fresh_configuration(position))
                for _ in range(QUENCHES if name == "glasswright" else 1)
            ]
            seconds[name].append(statistics.median(elapsed for elapsed, _ in calls))
            measured = calls[0][1]
            results[name].append(
                {
                    "seed": seed,
                    "poisson_ratio": measured.poisson_ratio,
                    "max_force": measured.max_force,
                    "force_evaluations": measured.force_evaluations,
                }
            )
    return seconds, results


def _lammps(clock, side, chosen, n_seeds, report) -> None:
    """The quench alone, ours and LAMMPS' in turn, to the same largest force component."""
    import lammps_fire
    import numpy as np

    try:
        engine = lammps_fire.Lammps(chosen, force_tolerance=side.protocol.force_tolerance, clock=clock)
    except (ImportError, ValueError) as error:
        print(f"{QUENCH}, against LAMMPS: skipped: {error}\n")
        return
    seeds = range(1, n_seeds + 1)
    # Warms up, as for `fresh`.
    engine.quench(chosen.random_position(0))
    for seed in (0, *seeds):
        side.quench(chosen.random_position(seed))
    seconds: dict[str, list[float]] = {"LAMMPS": [], "glasswright": []}
    results: dict[str, list[dict[str, float]]] = {"LAMMPS": [], "glasswright": []}
    for seed in seeds:
        position = chosen.random_position(seed)
        theirs, own = [], []
        for _ in range(QUENCHES):
            theirs.append(engine.quench(position))
            own.append(_timed(clock, lambda position=position: side.quench(position)))
        seconds["LAMMPS"].append(statistics.median(relaxed.seconds for relaxed in theirs))
        seconds["glasswright"].append(statistics.median(elapsed for elapsed, _ in own))
        relaxed, prepared = theirs[0], own[0][1]
        # How far the minimum of the tables is from that of the potential itself: the particle that differs most.
        exact = np.asarray(side.quench(relaxed.position).configuration.position)
        results["LAMMPS"].append(
            {
                "seed": seed,
                "max_force": relaxed.max_force,
                "max_force_summed_anew": float(np.max(np.abs(engine.table_force(relaxed.position)))),
                "max_force_without_tables": side.max_force(relaxed.position),
                "distance_to_exact_minimum": chosen.largest_distance(relaxed.position, exact),
                "steps": relaxed.steps,
                "force_evaluations": relaxed.force_evaluations,
            }
        )
        counts = {name: int(number) for name, number in prepared.statistics.items()}
        results["glasswright"].append(
            {"seed": seed, "max_force": side.max_force(prepared.configuration.position), **counts}
        )
    report["work"][QUENCH], report["quench"] = seconds, results
    report["ratios"]["LAMMPS / glasswright, quench alone"] = _ratios(seconds)


def _ratios(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """How many times as long as ours the other side takes, seed by seed."""
    import numpy as np

    (other,) = (name for name in seconds if name != "glasswright")
    ratios = [theirs / own for theirs, own in zip(seconds[other], seconds["glasswright"], strict=True)]
    lower, median, upper = np.percentile(ratios, (25, 50, 75)).tolist()
    return {"median": median, "quartiles": [lower, upper], "seeds": len(ratios), "each": ratios}


def _profile(clock, side, state, report) -> dict[str, float]:
    """Median seconds of the parts of one of our training steps."""
    profile = {}
    for name, piece in side.pieces(state).items():
        _timed(clock, piece)
        profile[name] = statistics.median(_timed(clock, piece)[0] for _ in range(15))
    whole = statistics.median(_timed(clock, lambda: side.training_step(state))[0] for _ in range(15))
    profile["whole step"] = whole
    profile["host overhead"] = whole - sum(profile[name] for name in side.in_sequence)
    profile["force evaluations per step"] = statistics.median(report["training"]["force_evaluations"]["glasswright"])
    return profile


def _print_report(report) -> None:
    if report["work"]:
        print(f"{'work':45s} {'other':>9s} {'':>24s} {'glasswright':>26s} {'ratio':>7s}")
    for work, seconds in report["work"].items():
        (other,) = (name for name in seconds if name != "glasswright")
        theirs, ours = (statistics.median(seconds[name]) for name in (other, "glasswright"))
        print(
            f"{work:45s} {other:>9s} {_with_spread(seconds[other]):>24s} {_with_spread(seconds['glasswright']):>26s} "
            f"{theirs / ours:7.2f}"
        )
    if report["ratios"]:
        print("\nratio of times, start by start")
    for what, ratios in report["ratios"].items():
        lower, upper = ratios["quartiles"]
        numbers = f"median {ratios['median']:6.2f}, quartiles {lower:.2f} to {upper:.2f}, {ratios['seeds']} seeds"
        print(f"  {what:45s} {numbers}")
    if "accuracy" in report:
        print("\ndeviation from the reference values at the known minimum (gradient relative to its norm)")
        for name, accuracy in report["accuracy"].items():
            print(f"  {name:12s} nu {accuracy['poisson_ratio']:.1e}   gradient {accuracy['gradient']:.1e}")
    if "fresh" in report:
        print("\na fresh configuration: means over the seeds")
        for name, results in report["fresh"].items():
            evaluations, value = (
                statistics.mean(measured[key] for measured in results) for key in ("force_evaluations", "poisson_ratio")
            )
            print(f"  {name:12s} {evaluations:.0f} force evaluations, nu {value:.3f}")
    if "quench" in report:
        _print_quench(report)
    if "training" in report:
        _print_training(report)


def _print_quench(report) -> None:
    print("\na quench alone: means over the seeds, and the largest force of all")
    for name, results in report["quench"].items():
        keys = ("force_evaluations",) if name == "LAMMPS" else ("evaluations", "factorisations")
        counts = ", ".join(
            f"{statistics.mean(measured[key] for measured in results):.1f} {key.replace('_', ' ')}" for key in keys
        )
        print(f"  {name:12s} {counts}, max|F| {max(measured['max_force'] for measured in results):.1e}")
    theirs = report["quench"]["LAMMPS"]
    anew, without, distance = (
        max(measured[key] for measured in theirs)
        for key in ("max_force_summed_anew", "max_force_without_tables", "distance_to_exact_minimum")
    )
    print(
        f"  LAMMPS relaxes in tables of the force: max|F| {anew:.1e} in them, summed anew; {without:.1e} without them, "
        f"whose minimum is up to {distance:.1e} away"
    )


def _print_training(report) -> None:
    common = min(len(losses) for losses in report["training"]["loss"].values())
    ends = ", ".join(f"{name} {losses[common - 1]:.10f}" for name, losses in report["training"]["loss"].items())
    print(f"\nloss after the same {common + 1} training steps: {ends}")
    for name in ("recipe", "glasswright"):
        print(f"  {name:12s} mean training step {statistics.mean(report['work'][STEP][name]):.4f} s")
    print("\none training step of glasswright")
    for part, value in report["profile"].items():
        text = f"{value:.0f}" if part.startswith("force evaluations") else f"{1e3 * value:.2f} ms"
        print(f"  {part:45s} {text:>10s}")


def _with_spread(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.4f} [{min(seconds):.4f}, {max(seconds):.4f}]"


if __name__ == "__main__":
    main()
