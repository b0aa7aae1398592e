"""What `analyse` says on the terminal."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

# Wider tables than a terminal show nothing.
MOST_COLUMNS = 8


def print_analysis(report: dict[str, Any], console: Console | None = None) -> None:
    """The main numbers of an analysis."""
    console = console or Console(soft_wrap=False)
    packing = report["packing"]
    console.print(f"packing: {packing['source']}, {packing['n_particles']} particles", highlight=False)
    if "tunability" in report:
        _tunability(report["tunability"], console)
    if "predictiveness" in report:
        _predictiveness(report["predictiveness"], console)
    if "bonds" in report:
        _bonds(report["bonds"], console)
    if "vibrations" in report:
        one = report["vibrations"]
        console.print(
            f"vibrations: {one['n_modes']} modes and {one['n_zero_modes']} zero modes, lowest frequency "
            f"{one['lowest_frequency']:.5g} with participation ratio {one['participation_ratio_of_softest']:.3f}",
            highlight=False,
            soft_wrap=True,
        )


def _tunability(one: dict[str, Any], console: Console) -> None:
    counts = "".join(f", {count} {name}" for name, count in one["rejected"].items())
    title = f"tunability: {one['average']} of {one['converged']} packings{counts}"
    table = Table(title=title, title_justify="left", title_style="bold")
    sigma, errors = np.asarray(one["singular_values"]), one["standard_error"]
    for heading in ("", "singular value", "cost", "changes the properties by", "by a step of the design along"):
        table.add_column(heading)
    for k, value in enumerate(sigma):
        error = "" if errors is None else f" ± {errors[k]:.2g}"
        cost = one["cost"][k]
        table.add_row(
            str(k),
            f"{value:.4g}{error}",
            "unreachable" if not np.isfinite(cost) else f"{cost:.4g}",
            _combination(one["property_directions"][k], one["properties"]),
            _combination(one["design_directions"][k], one["design"]),
        )
    console.print(table)
    others = {name: values for name, values in one["singular_values_by_average"].items() if name != one["average"]}
    if one["converged"] > 1:
        for name, values in others.items():
            console.print(f"singular values of the {name}: {_numbers(values)}", highlight=False, soft_wrap=True)
    if one["change"]:
        _change(one["change"], one, console)


def _change(change: dict[str, Any], one: dict[str, Any], console: Console) -> None:
    wanted = ", ".join(f"{name} {value:+.4g}" for name, value in change["wanted"].items())
    end = "reachable to first order" if change["reachable"] else "NOT reachable to first order"
    bounds = "" if change["within_bounds"] else ", but outside the bounds of the design"
    console.print(f"change wanted: {wanted}: {end}, cost {change['cost']:.4g}{bounds}", highlight=False, soft_wrap=True)
    step = ", ".join(f"{name} {_numbers(values)}" for name, values in change["step"].items())
    console.print(f"shortest step: {step}", highlight=False, soft_wrap=True)


def _predictiveness(report: dict[str, Any], console: Console) -> None:
    table = Table(title="predictiveness: steps along the gradient", title_justify="left", title_style="bold")
    for heading in ("property", "slope", "right to 10 % up to a step of"):
        table.add_column(heading)
    for name, one in report.items():
        table.add_row(name, f"{one['slope']:.4g}", "none" if one["holds_to"] is None else f"{one['holds_to']:.2g}")
    console.print(table)


def _bonds(report: dict[str, Any], console: Console) -> None:
    for name, one in report.items():
        largest = one["largest"][0]
        console.print(
            f"bonds of the {name.replace('_', ' ')} {one['sum']:.6g}: {one['n_bonds']} bonds, {one['n_negative']} of "
            f"them negative; the largest has {largest['share']:.2%}, the ten largest {one['share_of_ten']:.2%}",
            highlight=False,
            soft_wrap=True,
        )


def _combination(vector: Any, names: Sequence[str]) -> str:
    """`0.92 poisson_ratio - 0.38 pressure`, the largest entries first where there are many."""
    order = range(len(names)) if len(names) <= MOST_COLUMNS else np.argsort(-np.abs(vector))[:MOST_COLUMNS]
    text = " ".join(f"{'-' if vector[k] < 0 else '+'} {abs(vector[k]):.2f} {names[k]}" for k in order)
    return text.removeprefix("+ ") + (" …" if len(names) > MOST_COLUMNS else "")


def _numbers(values: Any) -> str:
    return "[" + ", ".join(f"{x:.4g}" for x in np.ravel(np.asarray(values))) + "]"
