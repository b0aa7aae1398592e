"""The pictures of a run directory, drawn again from its files: in another format or style, or while the run goes on."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from .._errors import RequestError, suggestion
from .._types import JSON, Setting
from ..config.carried import carried_potential
from ..physics.configuration import Configuration
from ..plots.front import front_figure
from ..plots.options import PlotOptions
from ..plots.quantities import quantity
from ..plots.style import Quantity
from ..registry.registry import registry
from ..run.checkpoint import Checkpoint
from ..run.directory import RunDirectory
from ..run.extxyz import read_frames
from ..run.files import read_json, read_lines, read_metrics
from ..run.listing import RunSummary, command_in, read_mapping, runs_below


def figures_of(folder: Path, options: PlotOptions) -> Iterator[tuple[str, Figure]]:
    """The pictures of a run with their names, from what it has written by now.

    Raises `RequestError` if there is no run in the folder, or nothing to draw yet.
    """
    config = read_mapping(folder / "config.yaml")
    command = command_in(folder)
    draw = {"train": _training, "validate": _validation, "analyse": _analysis}.get(command or "")
    if draw is None:
        what = "no run in it" if command is None else "a measurement, which has no picture"
        raise RequestError(f"DIR={folder}: there is {what}")
    figures = draw(folder, config, options)
    first = next(figures, None)
    if first is None:
        raise RequestError(f"DIR={folder}: has nothing to draw yet")
    yield first
    yield from figures


def front_of(folder: Path, names: Sequence[str], options: PlotOptions) -> Figure:
    """The Pareto front of all runs below a folder, by the losses of some of their terms."""
    runs = runs_below(folder)
    known = list(dict.fromkeys(name for run in runs for name in run.losses))
    for name in names:
        if name not in known:
            raise RequestError(f"--pareto {','.join(names)}: no run has a loss of {name!r}; {suggestion(name, known)}")
    if len(names) < 2:
        raise RequestError(f"--pareto {','.join(names)}: needs two terms or more; possible: {', '.join(known)}")
    measured = [run for run in runs if all(name in run.losses for name in names)]
    if not measured:
        raise RequestError(f"--pareto {','.join(names)}: no run has losses of all of them")
    points = np.array([[run.losses[name] for name in names] for run in measured])
    return front_figure(names, points, [_label(run, folder) for run in measured], options)


def _label(run: RunSummary, folder: Path) -> str:
    relative = str(Path(run.folder).relative_to(folder))
    return folder.name if relative == "." else relative


def quantities_in(config: Mapping[str, Setting]) -> dict[str, Quantity]:
    """What the terms of a kept configuration measure: their symbols and units are those of the registered classes."""
    components = registry().by_target()
    result = {}
    for name, node in (config.get("terms") or {}).items():
        component = components.get(str((node.get("property") or {}).get("_target_")))
        symbol, units = (getattr(component.cls, fact, "") if component else "" for fact in ("symbol", "units"))
        target = (node.get("objective") or {}).get("target")
        wanted = float(target) if isinstance(target, int | float) and not isinstance(target, bool) else None
        result[name] = quantity(name, str(symbol), str(units), wanted)
    return result


def _training(folder: Path, config: Mapping[str, Setting], options: PlotOptions) -> Iterator[tuple[str, Figure]]:
    from ..plots.training import training_figure

    lines = read_metrics(folder)
    if not lines:
        return
    quantities = quantities_in(config) or {name: Quantity(name) for name in lines[-1]["terms"]}
    packing, diameters = packing_of(folder)
    tolerance = float((config.get("train") or {}).get("tolerance") or 0.0)
    n_species = (config.get("system") or {}).get("n_species") or (0 if diameters is None else len(diameters))
    yield (
        "training",
        training_figure(
            lines,
            quantities,
            tolerance if _can_succeed(config) else 0.0,
            packing,
            diameters,
            int(n_species),
            options,
        ),
    )


def _can_succeed(config: Mapping[str, Setting]) -> bool:
    """Whether the tolerance of a training ends it: where every packing counts, and zero is the least loss."""
    components = registry().by_target()
    nodes = [
        config.get("sampler") or {},
        *((term.get("objective") or {}) for term in (config.get("terms") or {}).values()),
    ]
    classes = [component.cls for node in nodes if (component := components.get(str(node.get("_target_"))))]
    return len(classes) == len(nodes) and all(
        bool(getattr(cls, "is_population", True)) and bool(getattr(cls, "least_is_zero", True)) for cls in classes
    )


def packing_of(folder: Path) -> tuple[Configuration | None, np.ndarray | None]:
    """The packing that a run ended with, or its best one so far, and the diameters of the species if they are known."""
    for name in ("final.extxyz", "analysed.extxyz", "best.extxyz"):
        path = folder / name
        if path.exists():
            return _read(path)
    for path in RunDirectory.checkpoints(folder):
        try:
            best = Checkpoint.read(path).content.get("best") or {}
        except ValueError:
            continue
        for text in (best.get("packings") or {}).values():
            return _parsed(text)
    return None, None


def _parsed(text: str) -> tuple[Configuration, np.ndarray | None]:
    """The packing of a text, as checkpoints keep it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "best.extxyz"
        path.write_text(text)
        return _read(path)


def _read(path: Path) -> tuple[Configuration, np.ndarray | None]:
    return read_frames(path, "DIR")[0], _diameters(path)


def _diameters(path: Path) -> np.ndarray | None:
    """The diameters in the potential that a packing carries."""
    try:
        carried = carried_potential(path, "DIR")
    except RequestError:  # a potential that no plugin here has
        return None
    if carried is None:
        return None
    values = {name.rpartition(".")[2]: value for name, value in carried["trained"].items()}
    diameters = values.get("diameter", carried["potential"].get("diameter"))
    return None if diameters is None else np.atleast_1d(np.asarray(diameters, dtype=float))


def _validation(folder: Path, config: Mapping[str, Setting], options: PlotOptions) -> Iterator[tuple[str, Figure]]:
    from ..plots.validation import validation_figure

    ensembles: dict[str, list[dict[str, JSON]]] = {}
    for line in read_lines(folder / "configurations.jsonl"):
        ensembles.setdefault(line["ensemble"], []).append(line)
    if ensembles:
        yield "validation", validation_figure(ensembles, quantities_in(config), options)


def _analysis(folder: Path, config: Mapping[str, Setting], options: PlotOptions) -> Iterator[tuple[str, Figure]]:
    from ..plots.bonds import SYMBOLS, bonds_figure
    from ..plots.predictiveness import predictiveness_figure
    from ..plots.tunability import tunability_figure
    from ..plots.vibrations import vibrations_figure

    path = folder / "analysis.json"
    report = read_json(path) if path.exists() else {}
    packing, diameters = packing_of(folder)
    if "tunability" in report:
        yield "tunability", tunability_figure(report["tunability"], options)
    if "predictiveness" in report:
        yield "predictiveness", predictiveness_figure(report["predictiveness"], options)
    if (folder / "bonds.npz").exists():
        columns = _columns(folder / "bonds.npz")
        moduli = {name: columns[name] for name in SYMBOLS if name in columns}
        yield "bonds", bonds_figure(columns["i"], columns["j"], moduli, packing, diameters, options)
    if "vibrations" in report:
        modes = report["vibrations"]
        softest = _columns(folder / "vibrations.npz").get("softest")
        yield (
            "vibrations",
            vibrations_figure(
                np.asarray(modes["frequency"]),
                np.asarray(modes["participation_ratio"]),
                softest,
                packing,
                diameters,
                options,
            ),
        )


def _columns(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file; none if it is not there."""
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
