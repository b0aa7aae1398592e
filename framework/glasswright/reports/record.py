"""What a page says about a run, read from its directory."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import SupportsFloat, TypeGuard

import numpy as np

from .._types import JSON, Setting
from ..plots.style import Quantity, component_names, in_words
from ..registry.registry import registry
from ..run.files import read_json, read_metrics
from ..run.listing import RESUMABLE, RunSummary, overrides_of, read_mapping, summarise_run
from .drawing import quantities_in

# Designs with more numbers are shown by their ranges.
MOST_SHOWN = 30


@dataclasses.dataclass(frozen=True)
class Row:
    """A name and what stands beside it, as text."""

    name: str
    cells: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """All that a page says about one run.

    **Attributes:**

    - `summary`: how it stands.
    - `title`, `verdict`, `good`: what it is, how it ended in words, and whether that is what was wanted.
    - `asked`: what was asked for.
    - `results`, `result_headings`: what was measured.
    - `design`, `design_headings`: the design before and after.
    - `accounting`: how the preparations ended, and what they took.
    - `provenance`: where the result is from.
    - `commands`: what to type to repeat the run, or to go on with it.
    - `configuration`: the resolved configuration as YAML.
    """

    summary: RunSummary
    title: str
    verdict: str
    good: bool | None
    asked: Sequence[Row]
    result_headings: Sequence[str]
    results: Sequence[Row]
    design_headings: Sequence[str]
    design: Sequence[Row]
    accounting: Sequence[Row]
    provenance: Sequence[Row]
    commands: Sequence[str]
    configuration: str


def record_of(folder: Path) -> RunRecord:
    """What there is to say about the run in a folder, finished or not."""
    config, summary = read_mapping(folder / "config.yaml"), summarise_run(folder)
    report = {
        name: read_json(folder / f"{name}.json")
        for name in ("result", "validation", "analysis", "measure", "provenance")
        if (folder / f"{name}.json").exists()
    }
    lines = read_metrics(folder)
    verdict, good = verdict_of(summary)
    headings, results = _results(summary, quantities_in(config), report, lines)
    design_headings, design = _design(config, report.get("result", {}), lines)
    path = folder / "config.yaml"
    return RunRecord(
        summary=summary,
        title=" · ".join(part for part in (summary.command, summary.experiment) if part),
        verdict=verdict,
        good=good,
        asked=_asked(config),
        result_headings=headings,
        results=results,
        design_headings=design_headings,
        design=design,
        accounting=_accounting(summary, report),
        provenance=_provenance(report.get("provenance", {})),
        commands=_commands(folder, summary),
        configuration=path.read_text() if path.exists() else "",
    )


def verdict_of(summary: RunSummary) -> tuple[str, bool | None]:
    """How a run ended, and whether that is what was wanted; None where nothing can be said."""
    if summary.state == "done":
        verdicts: dict[bool | None, tuple[str, bool | None]] = {
            True: ("target reached", True),
            False: ("target not reached", False),
            None: ("done", None),
        }
        return verdicts[summary.success]
    return (f"{summary.state}: {summary.why}" if summary.why else summary.state), (
        None if summary.state == "running" else False
    )


def _asked(config: Mapping[str, Setting]) -> list[Row]:
    """The terms and the components of a configuration, in words."""
    rows = []
    for name, node in (config.get("terms") or {}).items():
        objective = node.get("objective") or {}
        wanted = _component_text(objective) if objective else "measured only"
        weight = "" if node.get("weight") in (None, 1.0) else f", weight {number(node['weight'])}"
        rows.append(Row(in_words(name), (f"{wanted}{weight}",)))
    for kind in ("potential", "system", "protocol", "sampler", "combination", "optimizer"):
        if isinstance(config.get(kind), Mapping):
            rows.append(Row(kind, (_component_text(config[kind]),)))
    if config.get("design"):
        bounds = "; ".join(f"{name} in {_short(value)}" for name, value in config["design"].items())
        rows.append(Row("design", (bounds,)))
    train = config.get("train") or {}
    if train:
        rows.append(Row("steps", (f"at most {train.get('steps')}, tolerance {number(train.get('tolerance'))}",)))
    rows += [Row(key.replace("_", " "), (_short(config[key]),)) for key in _PLAIN if config.get(key) is not None]
    return rows


_PLAIN = ("seed", "run", "design_of", "n_configurations", "n_untrained", "configuration", "parts")


def _component_text(node: Mapping[str, Setting]) -> str:
    """A component with its parameters: `quench (method newton, …)`."""
    component = registry().by_target().get(str(node.get("_target_")))
    name = component.name if component else str(node.get("_target_", "")).rpartition(".")[2]
    parts = []
    for key, value in node.items():
        if key == "_target_" or value is None:
            continue
        text = _component_text(value) if isinstance(value, Mapping) and "_target_" in value else _short(value)
        parts.append(f"{in_words(key)} {text}")
    inside = ", ".join(parts)
    return f"{name} ({inside})" if inside and name else name or inside


def _short(value: Setting) -> str:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list):
        shown = ", ".join(_short(item) for item in value[:6])
        return f"[{shown}{', …' if len(value) > 6 else ''}]"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    return str(value)


def number(value: SupportsFloat | None) -> str:
    """A number as a reader wants it; a dash for none."""
    return "–" if value is None else f"{float(value):.5g}"


def with_error(value: SupportsFloat | None, error: SupportsFloat | None) -> str:
    """A number with its standard error, to the digits that the error leaves."""
    if value is None:
        return "–"
    if not error:
        return number(value)
    digits = max(0, 1 - int(np.floor(np.log10(abs(float(error))))))
    return f"{float(value):.{digits}f} ± {float(error):.{digits}f}" if digits < 10 else number(value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _results(
    summary: RunSummary,
    quantities: Mapping[str, Quantity],
    report: Mapping[str, Mapping[str, JSON]],
    lines: Sequence[Mapping[str, JSON]],
) -> tuple[list[str], list[Row]]:
    """What was measured: headings, and a row for each scalar property."""
    targets = {name: number(q.target) for name, q in quantities.items()}
    if "validation" in report:
        trained = report["validation"]
        untrained = (trained.get("untrained") or {}).get("properties", {})
        rows = []
        for name, entry in trained["properties"].items():
            if not _is_number(entry["mean"]):
                continue
            before = untrained.get(name, {})
            rows.append(
                Row(
                    in_words(name),
                    (
                        targets.get(name, "–"),
                        with_error(entry["mean"], entry["standard_error"]),
                        number(entry["standard_deviation"]),
                        number(entry.get("median")),
                        with_error(before.get("mean"), before.get("standard_error")),
                    ),
                )
            )
        return ["target", "trained", "standard deviation", "median", "untrained"], rows
    if "measure" in report:
        properties = report["measure"].get("properties", {})
        shown = [
            (name, entry) for name, entry in properties.items() if _is_number(entry.get("value")) or "error" in entry
        ]
        return ["value"], [
            Row(in_words(name), (entry.get("error") or number(entry["value"]),)) for name, entry in shown
        ]
    if not lines:
        return [], []
    last = next((line for line in reversed(lines) if line.get("loss") is not None), lines[-1])
    best = lines[summary.best_step] if summary.best_step is not None and summary.best_step < len(lines) else None
    rows = []
    for name, term in last["terms"].items():
        if _is_number(term["value"]):
            first = lines[0]["terms"].get(name, {})
            at_best = None if best is None else best["terms"][name]
            rows.append(
                Row(
                    in_words(name),
                    (
                        targets.get(name, "–"),
                        with_error(first.get("value"), first.get("standard_error")),
                        with_error(term["value"], term.get("standard_error")),
                        "–" if at_best is None else with_error(at_best["value"], at_best.get("standard_error")),
                        number(term.get("loss")),
                    ),
                )
            )
    step = "" if best is None else f" (step {summary.best_step})"
    return ["target", "first step", f"last step ({last['step']})", f"best step{step}", "loss"], rows


def _design(
    config: Mapping[str, Setting], result: Mapping[str, JSON], lines: Sequence[Mapping[str, JSON]]
) -> tuple[list[str], list[Row]]:
    """Each number of the design before and after; where steps see samples, with how much it still moves."""
    if not lines:
        return [], []
    first, last = lines[0]["design"], lines[-1]["design"]
    best = (result.get("best") or {}).get("design", {})
    average = (result.get("average") or {}).get("design", {})
    half = lines[len(lines) // 2 :]
    n_species = int((config.get("system") or {}).get("n_species") or 0)
    rows = []
    for name, before in first.items():
        columns = [np.ravel(before), np.ravel(last[name])]
        if average:
            spread = np.std([np.ravel(line["design"][name]) for line in half], axis=0)
        other = np.ravel(average.get(name) if average else best.get(name, [])).astype(float)
        for k, label in enumerate(component_names(name, np.shape(before), n_species)):
            cells = [number(column[k]) for column in columns]
            if average:
                cells.append(f"{number(other[k])} ± {spread[k]:.2g}")
            elif best:
                cells.append(number(other[k]))
            rows.append(Row(label, tuple(cells)))
    third = ["average of the last half ± its spread"] if average else ["best step"] if best else []
    if len(rows) > MOST_SHOWN:
        rows = [*rows[:MOST_SHOWN], Row(f"and {len(rows) - MOST_SHOWN} more", tuple("" for _ in rows[0].cells))]
    return ["before", "after", *third], rows


def _accounting(summary: RunSummary, report: Mapping[str, Mapping[str, JSON]]) -> list[Row]:
    rows = []
    if summary.steps is not None:
        of = f" of {summary.of}" if summary.of else ""
        rows.append(Row("steps" if summary.command == "train" else "packings", (f"{summary.steps}{of}",)))
    content = report.get("result") or report.get("validation") or {}
    if "requested" in content:
        rejected = ", ".join(f"{count} {outcome}" for outcome, count in content["rejected"].items()) or "none"
        rows += [
            Row("preparations", (str(content["requested"]),)),
            Row("converged", (str(content["converged"]),)),
            Row("rejected", (rejected,)),
        ]
    if content.get("rearranged") is not None:
        rows.append(Row("rearranged", (str(content["rearranged"]),)))
    if summary.loss is not None:
        rows.append(Row("loss", (number(summary.loss),)))
    if content.get("loss_floor") is not None:
        rows.append(Row("sampling floor", (number(content["loss_floor"]),)))
    if summary.seconds is not None:
        rows.append(Row("wall time", (f"{summary.seconds:.1f} s",)))
    return rows


def _provenance(content: Mapping[str, JSON]) -> list[Row]:
    rows = []
    if content.get("versions"):
        rows.append(Row("versions", (", ".join(f"{name} {text}" for name, text in content["versions"].items()),)))
    plugins = [f"{p['entry_point']} ({p['distribution']} {p['version']})" for p in content.get("plugins", [])]
    if plugins:
        rows.append(Row("plugins", (", ".join(plugins),)))
    for key in ("devices", "platform", "git"):
        if content.get(key):
            rows.append(Row(key, (_short(content[key]) if key != "devices" else ", ".join(content[key]),)))
    rows += [
        Row(f"file {name}", (f"{file['path']} (SHA-256 {file['sha256']})",))
        for name, file in content.get("files", {}).items()
    ]
    return rows


def _commands(folder: Path, summary: RunSummary) -> list[str]:
    """What repeats the run, and what goes on with it."""
    commands = []
    if (folder / ".hydra" / "overrides.yaml").exists():
        typed = [f"{key}={value}" if value else key for key, value in overrides_of(folder).items()]
        commands.append(shlex.join(["glasswright", summary.command, *typed]))
    if summary.state in RESUMABLE:
        commands.append(shlex.join(["glasswright", "resume", summary.folder]))
    return commands
