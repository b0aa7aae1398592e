"""A page about one run or several: a single HTML file that needs no network."""

import base64
import dataclasses
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from .._errors import RequestError
from ..plots.options import PlotOptions
from ..plots.style import rendered
from ..plots.sweep import sweep_figure
from ..run.listing import RunSummary, differing, read_mapping, run_folders
from .drawing import figures_of, front_of, quantities_in
from .record import RunRecord, number, record_of

# Vector pictures that are larger, in bytes, become PNG files: of a packing with many particles, for instance.
LARGEST_VECTOR = 1_500_000
# Of more runs, only the comparison has pictures and the sections have none.
MOST_WITH_PICTURES = 40
# Pixels of the screen for an inch of a picture that is made for print.
PIXELS = 142
_OF_PICTURES = {
    "training": "Loss, values and design over the steps, and the packing",
    "validation": "Distributions before and after the training",
    "tunability": "Singular values and directions of the Jacobian",
    "predictiveness": "Predicted and measured changes over the length of the step",
    "bonds": "Contributions of the bonds to the moduli",
    "vibrations": "Density of states, participation ratios, and the softest mode",
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture as data addresses, for wide and for narrow screens, its greatest width in pixels, and what it shows."""

    address: str
    narrow: str
    width: int
    caption: str


@dataclasses.dataclass(frozen=True)
class Section:
    """A run on the page."""

    anchor: str
    name: str
    record: RunRecord
    pictures: Sequence[Picture]


def report_page(folders: Sequence[Path], pareto: Sequence[str] = (), style: str | None = None) -> str:
    """The page about the runs in folders and in those below them.

    **Arguments:**

    - `folders`: of runs, or of sweeps.
    - `pareto`: terms whose losses are drawn against each other, with the front.
    - `style`: of the pictures, as in `PlotOptions`.
    """
    runs: list[Path] = []
    for folder in folders:
        below = list(run_folders(folder))
        if not below:
            raise RequestError(
                f"DIR={folder}: there is no run in it" if folder.is_dir() else f"DIR={folder}: no such directory"
            )
        runs += [path for path in below if path not in runs]
    drawn = len(runs) <= MOST_WITH_PICTURES
    base = _common(runs)
    sections = [
        Section(f"run{k}", _name(path, base), record_of(path), _pictures(path, style) if drawn else ())
        for k, path in enumerate(runs)
    ]
    summaries = [section.record.summary for section in sections]
    overall = _overall(summaries, runs[0], style)
    if pareto:
        caption = f"Pareto front of {' and '.join(pareto)}"
        overall.append(_picture(caption, *(front_of(base, pareto, options) for options in _widths(style)), style=style))
    headings, rows = _comparison(sections) if len(sections) > 1 else ([], [])
    page = _environment().get_template("report.html.j2")
    return page.render(
        title=sections[0].name if len(sections) == 1 else f"{len(sections)} runs in {base.name or base}",
        made=datetime.now().isoformat(" ", "minutes"),
        sections=sections,
        overall=overall,
        headings=headings,
        rows=rows,
    )


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("glasswright.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )


def _common(paths: Sequence[Path]) -> Path:
    """The folder that all are in; of one, the one that it is in."""
    if len(paths) == 1:
        return paths[0].resolve().parent
    shared = [set(path.resolve().parents) | {path.resolve()} for path in paths]
    return max(set.intersection(*shared), key=lambda path: len(path.parts))


def _name(path: Path, base: Path) -> str:
    relative = str(path.resolve().relative_to(base))
    return base.name if relative == "." else relative


def _widths(style: str | None) -> tuple[PlotOptions, PlotOptions]:
    """How pictures are drawn for wide and for narrow screens."""
    return PlotOptions(style=style), PlotOptions(width="single", style=style)


def _pictures(folder: Path, style: str | None) -> list[Picture]:
    """The pictures of a run, drawn from its files; none where there is nothing to draw yet."""
    try:
        wide, narrow = (figures_of(folder, options) for options in _widths(style))
        return [
            _picture(_OF_PICTURES[name], figure, small, style=style)
            for (name, figure), (_, small) in zip(wide, narrow, strict=True)
        ]
    except RequestError:
        return []


def _picture(caption: str, wide: Figure, narrow: Figure, *, style: str | None) -> Picture:
    for_wide, for_narrow = _widths(style)
    width = round(PIXELS * wide.get_figwidth())
    return Picture(_address(wide, for_wide), _address(narrow, for_narrow), width, caption)


def _address(figure: Figure, options: PlotOptions) -> str:
    vector = rendered(figure, "svg", options, text_as_paths=True)
    kind, content = ("svg+xml", vector) if len(vector) <= LARGEST_VECTOR else ("png", rendered(figure, "png", options))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _comparison(sections: Sequence[Section]) -> tuple[list[str], list[tuple[Section, list[str]]]]:
    """The table of several runs: how they stand, what they came to, and in what they differ."""
    summaries = [section.record.summary for section in sections]
    keys = differing(summaries)
    values = list(dict.fromkeys(name for summary in summaries for name in summary.values))
    headings = ["run", "state", *keys, "steps", "loss", "best", *(name.replace("_", " ") for name in values)]
    rows = []
    for section, summary in zip(sections, summaries, strict=True):
        cells = [summary.overrides.get(key, "") for key in keys]
        cells += ["" if summary.steps is None else str(summary.steps), number(summary.loss), number(summary.best)]
        rows.append((section, [*cells, *(number(summary.values.get(name)) for name in values)]))
    return headings, rows


def _overall(summaries: Sequence[RunSummary], example: Path, style: str | None) -> list[Picture]:
    """The losses and values over each number in which the runs differ."""
    axes = {}
    for key in differing(summaries):
        numbers = np.array([_number(summary.overrides.get(key)) for summary in summaries])
        if len(np.unique(numbers[np.isfinite(numbers)])) > 1:
            axes[key] = numbers
    if len(summaries) < 2 or not axes:
        return []
    quantities = quantities_in(read_mapping(example / "config.yaml"))
    figures = [sweep_figure(axes, _columns(summaries), quantities, options) for options in _widths(style)]
    return [_picture("Losses and values over what was varied", *figures, style=style)]


def _number(text: str | None) -> float:
    """The number that was typed; not a number for anything else."""
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _columns(summaries: Sequence[RunSummary]) -> dict[str, np.ndarray]:
    """The loss and every value of several runs; not a number where a run has none."""
    names = list(dict.fromkeys(name for summary in summaries for name in summary.values))
    columns = {"loss": [summary.loss for summary in summaries]}
    columns |= {name: [summary.values.get(name) for summary in summaries] for name in names}
    return {name: np.array(column, dtype=float) for name, column in columns.items()}
