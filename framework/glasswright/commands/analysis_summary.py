"""What `analyse` says on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from .._types import JSON

# Of longer arrays only the beginning is shown: all of it is in `analysis.json`.
MOST_SHOWN = 6


def summarise(report: Mapping[str, JSON], folder: Path) -> list[str]:
    """The main numbers of an analysis, in colours if standard output is a terminal."""
    console = Console(soft_wrap=False)
    with console.capture() as capture:
        frames, packing = report.get("frames", []), report["packing"]
        if frames:
            console.print(f"{len(frames)} packings of {packing['source']}; the first:", highlight=False)
            report = frames[0]
        console.print(f"packing: {packing['source']}, {packing['n_particles']} particles", highlight=False)
        if "gradients" in report:
            _gradients(report["gradients"], console)
        if "tunability" in report:
            _tunability(report["tunability"], console)
        if "predictiveness" in report:
            _predictiveness(report["predictiveness"], console)
        if "bonds" in report:
            _bonds(report["bonds"], console)
        if "vibrations" in report:
            _vibrations(report["vibrations"], console)
    return [*capture.get().splitlines(), f"results in {folder}"]


def _gradients(report: Mapping[str, JSON], console: Console) -> None:
    counts = "".join(f", {count} {name}" for name, count in report["rejected"].items())
    title = f"gradients of means, from {report['converged']} samples ({report['preparations']} packings){counts}"
    table = Table(title=title, title_justify="left", title_style="bold")
    headings = ("", "in", "by", "gradient", "S/N", "samples for S/N 1", "pairs correlate")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for name, of_property in report["properties"].items():
        for variable, signal in of_property["variables"].items():
            numbers = zip(np.ravel(signal["gradient"]), np.ravel(signal["standard_error"]), strict=True)
            shown = [f"{mean:.3g} ± {error:.2g}" for mean, error in numbers]
            is_paired = signal["estimator"] == "evolution"
            table.add_row(
                name,
                variable,
                signal["estimator"],
                ", ".join(shown[:MOST_SHOWN]) + (", …" if len(shown) > MOST_SHOWN else ""),
                _number(signal["signal_to_noise"], ".2g"),
                _number(signal["for_one"], ".2g"),
                _number(of_property["pair_correlation"], ".3f") if is_paired else "",
            )
    console.print(table)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _tunability(report: Mapping[str, JSON], console: Console) -> None:
    counts = "".join(f", {count} {name}" for name, count in report["rejected"].items())
    packings = (
        "one packing" if report["requested"] == 1 else f"the {report['average']} of {report['converged']} packings"
    )
    title = f"tunability of {packings}{counts}"
    table = Table(title=title, title_justify="left", title_style="bold", show_lines=True)
    sigma, errors = np.asarray(report["singular_values"]), report["standard_error"]
    for heading in ("", "singular value", "cost", "properties change by", "as the design moves along"):
        table.add_column(heading, overflow="fold")
    for k, value in enumerate(sigma):
        error = "" if errors is None else f" ± {errors[k]:.2g}"
        cost = report["cost"][k]
        table.add_row(
            str(k),
            f"{value:.4g}{error}",
            "unreachable" if not np.isfinite(cost) else f"{cost:.4g}",
            _combination(report["property_directions"][k], report["properties"]),
            _combination(report["design_directions"][k], report["design"]),
        )
    console.print(table)
    others = {
        name: values for name, values in report["singular_values_by_average"].items() if name != report["average"]
    }
    if report["converged"] > 1:
        for name, values in others.items():
            console.print(f"singular values of the {name}: {_numbers(values)}", highlight=False, soft_wrap=True)
        typical, mean = (report["singular_values_by_average"][name] for name in ("clipped", "mean"))
        if report["average"] == "mean" and np.any(np.abs(np.log(mean / typical)) > np.log(1.5)):
            console.print("a few packings rule the mean: consider average=clipped", highlight=False, soft_wrap=True)
    if report["change"]:
        _change(report["change"], console)


def _change(change: Mapping[str, JSON], console: Console) -> None:
    wanted = ", ".join(f"{name} {value:+.4g}" for name, value in change["wanted"].items())
    end = "reachable to first order" if change["reachable"] else "NOT reachable to first order"
    bounds = "" if change["within_bounds"] else ", but outside the bounds of the design"
    console.print(f"change wanted: {wanted}: {end}, cost {change['cost']:.4g}{bounds}", highlight=False, soft_wrap=True)
    step = ", ".join(f"{name} {_numbers(values)}" for name, values in change["step"].items())
    console.print(f"shortest step: {step}", highlight=False, soft_wrap=True)


def _predictiveness(report: Mapping[str, JSON], console: Console) -> None:
    table = Table(title="predictiveness: steps along the gradient", title_justify="left", title_style="bold")
    for heading in ("property", "slope", "right to 10 % up to a step of"):
        table.add_column(heading)
    for name, entry in report.items():
        table.add_row(
            name, f"{entry['slope']:.4g}", "none" if entry["holds_to"] is None else f"{entry['holds_to']:.2g}"
        )
    console.print(table)


def _bonds(report: Mapping[str, JSON], console: Console) -> None:
    for name, entry in report.items():
        largest = entry["largest"][0]
        console.print(
            f"bonds of the {name.replace('_', ' ')} {entry['sum']:.6g}: {entry['n_bonds']} bonds, "
            f"{entry['n_negative']} of them negative; the largest has {largest['share']:.2%}, "
            f"the ten largest {entry['share_of_ten']:.2%}",
            highlight=False,
            soft_wrap=True,
        )


def _vibrations(report: Mapping[str, JSON], console: Console) -> None:
    console.print(
        f"vibrations: {report['n_modes']} modes and {report['n_zero_modes']} zero modes, lowest frequency "
        f"{report['lowest_frequency']:.5g} with participation ratio {report['participation_ratio_of_softest']:.3f}",
        highlight=False,
        soft_wrap=True,
    )


def _combination(vector: object, names: Sequence[str]) -> str:
    """`poisson_ratio -0.27, pressure 0.96`; the entries of an array together: `diameter [0.58, 0.81]`."""
    groups: dict[str, list[float]] = {}
    for name, number in zip(names, np.asarray(vector), strict=True):
        groups.setdefault(name.partition("[")[0], []).append(float(number))
    parts = []
    for name, numbers in groups.items():
        text = ", ".join(f"{x:+.2f}" for x in numbers[:MOST_SHOWN]) + (", …" if len(numbers) > MOST_SHOWN else "")
        parts.append(f"{name} {text}" if len(numbers) == 1 else f"{name} [{text}]")
    return "\n".join(parts)


def _numbers(values: object) -> str:
    return "[" + ", ".join(f"{x:.4g}" for x in np.ravel(np.asarray(values))) + "]"
