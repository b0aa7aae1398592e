"""`glasswright runs [FOLDER]`: all runs below a folder, how they stand, and in which overrides they differ."""

import csv
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .._errors import RequestError, suggestion
from .._types import JSON
from ..run.listing import RunSummary, differing, natural_order, runs_below
from .parser import Parser

# Where runs go unless somebody says otherwise.
OUTPUTS = "outputs"
COLOURS = {"done": "green", "running": "cyan", "failed": "red", "stopped": "yellow", "killed": "red"}
SHOWN: dict[str, Callable[[RunSummary], str]] = {
    "command": lambda run: run.command,
    "experiment": lambda run: run.experiment or "",
    "state": lambda run: run.state,
    "steps": lambda run: "" if run.steps is None else f"{run.steps}/{run.of}" if run.of else str(run.steps),
    "loss": lambda run: _scientific(run.loss),
    "best": lambda run: "" if run.best is None else f"{_scientific(run.best)} @{run.best_step}",
    "time": lambda run: _duration(run.seconds),
}
MAPPINGS = ("values", "losses", "overrides")
SORTABLE = ("folder", "command", "experiment", "state", "started", "steps", "loss", "best", "seconds")


def main(arguments: list[str]) -> int:
    """Show the runs; exit code 0 whatever state they are in."""
    given = parser().parse_args(arguments)
    folder = Path(given.folder)
    if not folder.is_dir():
        raise RequestError(f"FOLDER={folder}: no such directory")
    runs = ordered(runs_below(folder), given.sort, reverse=given.reverse)
    if given.json:
        print(json.dumps([dataclasses.asdict(run) for run in runs], indent=1))
    elif given.csv:
        _print_csv(runs)
    elif not runs:
        print(f"no runs in {folder}")
    else:
        _print_table(runs, folder)
    return 0


def parser() -> Parser:
    """The arguments of the command."""
    result = Parser(prog="glasswright runs", description="All runs below a folder, and how they stand.")
    result.add_argument("folder", metavar="FOLDER", nargs="?", default=OUTPUTS, help=f"(default: {OUTPUTS})")
    result.add_argument(
        "--sort",
        metavar="COLUMN",
        default="folder",
        help=f"{', '.join(SORTABLE)}, the name of a value, or an override (default: folder)",
    )
    result.add_argument("--reverse", action="store_true", help="the largest come first")
    formats = result.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="machine-readable output")
    formats.add_argument("--csv", action="store_true", help="a table for spreadsheets")
    return result


def ordered(runs: Sequence[RunSummary], name: str, *, reverse: bool = False) -> list[RunSummary]:
    """Runs in the order of a column; those that have nothing there come last."""
    known = [*SORTABLE, *values_of(runs), *dict.fromkeys(key for run in runs for key in run.overrides)]
    if name not in known:
        raise RequestError(f"--sort={name}: no such column; {suggestion(name, known)}")

    def cell(run: RunSummary) -> JSON:
        if name in SORTABLE:
            return getattr(run, name)
        return run.values.get(name, run.overrides.get(name))

    present = [run for run in runs if cell(run) is not None]
    present.sort(key=lambda run: _sorting_key(cell(run)), reverse=reverse)
    return [*present, *(run for run in runs if cell(run) is None)]


def _sorting_key(value: JSON) -> tuple[float, list[tuple[int, str]]]:
    """Numbers by their size, then texts with the numbers in them by theirs."""
    try:
        return float(value), []
    except ValueError:
        return float("inf"), natural_order(str(value))


def values_of(runs: Sequence[RunSummary]) -> list[str]:
    """The names of all values that the runs have."""
    return list(dict.fromkeys(name for run in runs for name in run.values))


def rows(runs: Sequence[RunSummary], folder: Path) -> tuple[list[str], list[list[str]]]:
    """The headings and the cells of the table, without columns in which nothing stands."""
    columns: dict[str, list[str]] = {"folder": [_relative(run.folder, folder) for run in runs]}
    columns |= {heading: [cell(run) for run in runs] for heading, cell in SHOWN.items()}
    for name in values_of(runs):
        columns[name] = [f"{run.values[name]:.5g}" if name in run.values else "" for run in runs]
    for key in differing(runs):
        columns[key] = [run.overrides.get(key, "") for run in runs]
    columns["why"] = [run.why or "" for run in runs]
    columns = {heading: cells for heading, cells in columns.items() if any(cells)}
    return list(columns), [list(cells) for cells in zip(*columns.values(), strict=True)]


def _print_table(runs: Sequence[RunSummary], folder: Path) -> None:
    headings, cells = rows(runs, folder)
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
        for line in [headings, *cells]:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="right" if heading in ("loss", "time") else "left")
    for line in cells:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in line))
    Console().print(table)


def _print_csv(runs: Sequence[RunSummary]) -> None:
    """Every field in a column, and every value, loss and override."""
    names, keys = values_of(runs), list(dict.fromkeys(key for run in runs for key in run.overrides))
    plain = [field.name for field in dataclasses.fields(RunSummary) if field.name not in MAPPINGS]
    writer = csv.writer(sys.stdout)
    losses = list(dict.fromkeys(name for run in runs for name in run.losses))
    writer.writerow([*plain, *(f"values.{name}" for name in names), *(f"losses.{name}" for name in losses), *keys])
    for run in runs:
        cells = [getattr(run, name) for name in plain]
        mappings = ((run.values, names), (run.losses, losses), (run.overrides, keys))
        writer.writerow([*cells, *(mapping.get(name) for mapping, columns in mappings for name in columns)])


def _relative(path: str, folder: Path) -> str:
    relative = str(Path(path).relative_to(folder))
    return str(folder) if relative == "." else relative


def _scientific(number: float | None) -> str:
    return "" if number is None else f"{number:.3e}"


def _duration(seconds: float | None) -> str:
    """Hours, minutes and seconds, the two largest of them."""
    if seconds is None:
        return ""
    if seconds < 60.0:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
