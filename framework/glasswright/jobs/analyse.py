"""`analyse`: what a packing or an ensemble can become, how far gradients predict, its bonds and its vibrations."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from .._errors import RunError, suggestion
from .._types import JSON
from ..components.executor import started
from ..components.objective import Term
from ..components.protocol import Outcome, Prepared
from ..config.carried import potential_as_text
from ..config.paths import fingerprints
from ..evaluation.diagnosis import NOT_RIGID
from ..evaluation.ensemble import Ensemble, random_start
from ..evaluation.measurement import Measurement, Sample, in_box, is_rigid, measure_on_host
from ..evaluation.problem import Problem
from ..evaluation.statistics import count_rejected, describe_rejected
from ..execution.executor import Executor
from ..execution.signals import Terminated
from ..plots.options import PlotOptions
from ..run.directory import start_folder
from ..run.extxyz import write_configuration
from ..run.files import write_atomically, write_json
from ..run.pictures import picture_files, write_picture
from ..run.progress import NotebookProgress, Progress, Silent, progress_bar
from .analysis import PARTS, Analysis, check_analysis
from .frames import mean_and_error
from .measure import max_force
from .packing_reports import BondsReport, VibrationsReport, report_bonds, report_vibrations
from .predictiveness import PredictivenessReport, predictiveness
from .signal import SignalReport, measure_signal
from .tunability import Tunability, TunabilityReport, scalar_terms, tunability, tunability_report

logger = logging.getLogger(__name__)
if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The stream of the seed that packings of an analysis come from: none of a training (0), none of a validation (1).
ANALYSIS = 2
# Starts that are tried for the one packing that the other parts are about.
MOST_STARTS = 20


class PackingReport(TypedDict):
    """The one packing of an analysis."""

    source: str
    n_particles: int
    dimension: int
    max_force: float


class AnalysisReport(TypedDict):
    """The content of `analysis.json`: the parts that were asked for.

    Of several packings, `frames` has such a report for each, `mean` and `standard_error` the numbers that all have.
    """

    packing: PackingReport
    design: dict[str, np.ndarray]
    gradients: NotRequired[SignalReport]
    tunability: NotRequired[TunabilityReport]
    predictiveness: NotRequired[dict[str, PredictivenessReport]]
    bonds: NotRequired[dict[str, BondsReport]]
    vibrations: NotRequired[VibrationsReport]
    frames: NotRequired[list["AnalysisReport"]]
    mean: NotRequired[dict[str, JSON]]
    standard_error: NotRequired[dict[str, JSON]]


@dataclasses.dataclass(frozen=True)
class _Run:
    """An analysis that is running: its request, where its work is done, and where its files and progress go."""

    request: Analysis
    executor: Executor
    folder: Path | None
    bar: Progress | NotebookProgress | Silent
    stop: Terminated

    def check_stop(self) -> None:
        """Raise `Stopped` or `Interrupted` once a SIGTERM or a Ctrl-C has arrived in any process."""
        if self.executor.any_process(self.stop.requested):
            raise self.stop.error("before the analysis was complete")

    def write(self, name: str, draw: "Callable[[PlotOptions], Figure]") -> None:
        """Write a picture, where files are wanted."""
        if self.folder is not None:
            write_picture(self.folder, name, draw(self.request.plots), self.request.plots)


@dataclasses.dataclass(frozen=True)
class _Packing:
    """The packing that an analysis is about, and the problem, all of whose terms are numbers.

    `tunability` is that of this packing alone; None if no part of the analysis needs it.
    """

    problem: Problem
    values: dict[str, Array]
    prepared: Prepared
    tunability: Tunability | None


def analyse(request: Analysis, directory: str | Path | None = None, *, progress: bool = True) -> AnalysisReport:
    """Analyse a packing or an ensemble; returns what `analysis.json` holds.

    **Arguments:**

    - `directory`: where `analysis.json` and the pictures go; None writes nothing.
    - `progress`: whether to show a bar (on a terminal) or lines (elsewhere) on standard error.
    """
    check_analysis(request)
    with started(request.executor, request.devices) as executor:
        folder = None if directory is None or executor.rank > 0 else Path(directory)
        if folder is not None:
            stale = ("analysis.json", "analysed.extxyz", "bonds.npz", "vibrations.npz", *picture_files(*PARTS))
            # What an earlier analysis left here would be taken for this one's.
            start_folder(folder, request.config, stale, fingerprints(request.config))
        request = _without_gradients(request)
        wanted = ("tunability" in request.parts) + (not request.problem.design.is_exact)
        total = 1 + request.n_configurations * wanted + len(request.parts)
        total *= 1 + len(request.further)
        meter = progress_bar("analyse", total, shown=progress and executor.rank == 0)
        with meter as bar, Terminated() as stop:
            report = _analyse(_Run(request, executor, folder, bar, stop))
            # Pictures are of the first packing.
            others = [_analyse(_Run(another, executor, None, bar, stop)) for another in request.further]
        if others:
            frames = [report, *others]
            mean, error = mean_and_error(frames)
            report = {"packing": report["packing"], "design": report["design"], "frames": frames}
            report["mean"], report["standard_error"] = mean, error
        if folder is not None:
            # Last: a directory with it is complete.
            write_json(folder / "analysis.json", report)
        return report


def _analyse(run: _Run) -> AnalysisReport:
    """The packing, and the parts one after the other."""
    request, key = run.request, jax.random.key(run.request.seed)
    run.bar.describe("the packing")
    prepared = _prepare(request, key)
    run.bar.advance(1)
    packing = _measure_packing(request, prepared)
    model, configuration = packing.problem.model, prepared.configuration
    if run.folder is not None:
        carried = potential_as_text(model.potential, request.config)
        write_atomically(run.folder / "analysed.extxyz", write_configuration(configuration, potential=carried))
    parts: dict[str, Callable[[], object]] = {
        "tunability": lambda: _tunability(run, packing),
        "predictiveness": lambda: _predictiveness(run, packing, key),
        "bonds": lambda: report_bonds(model, prepared, run.folder, request.plots),
        "vibrations": lambda: report_vibrations(model, prepared, run.folder, request.plots),
    }
    report: dict[str, object] = {
        "packing": PackingReport(
            source=request.source,
            n_particles=configuration.n_particles,
            dimension=configuration.dimension,
            max_force=max_force(model.potential, configuration),
        ),
        "design": {name: np.asarray(value) for name, value in request.problem.initial_values.items()},
    }
    if request.n_configurations and not request.problem.design.is_exact:
        report["gradients"] = _signal(run)
    for part in PARTS:
        if part in request.parts:
            run.check_stop()
            run.bar.describe(part)
            report[part] = parts[part]()
            run.bar.advance(1)
            run.bar.describe(part)
    return cast(AnalysisReport, report)


def _without_gradients(request: Analysis) -> Analysis:
    """The request without the parts that are made of exact gradients, where no design variable has any."""
    made_of_gradients = {"tunability", "predictiveness"} & set(request.parts)
    if not made_of_gradients or request.problem.design.has_exact:
        return request
    names = ", ".join(part for part in request.parts if part in made_of_gradients)
    logger.warning("left out: %s: no design variable has an exact gradient", names)
    return dataclasses.replace(request, parts=tuple(p for p in request.parts if p not in made_of_gradients))


def _signal(run: _Run) -> SignalReport:
    """The signal and the noise of the gradients that a training would follow."""
    request = run.request
    ensemble = Ensemble(request.problem, request.seed, ANALYSIS, chunk_size=request.chunk_size)

    def after_each(count: int, rejected: str) -> None:
        run.bar.advance(count)
        run.bar.describe(f"gradients  {rejected}".rstrip())
        run.check_stop()

    return measure_signal(ensemble, run.executor, request.problem.initial_values, request.n_configurations, after_each)


def _prepare(request: Analysis, key: PRNGKeyArray) -> Prepared:
    """The packing of the request at its minimum, or the first fresh one that converges."""
    model = request.problem.model
    outcomes = []
    available = model.system.n_configurations
    n_starts = MOST_STARTS if available is None else min(available, MOST_STARTS)
    for index in range(1 if request.packing is not None else n_starts):
        if request.packing is not None:
            prepared = model.protocol.relax(model.potential, request.packing, key=key)
        else:
            numbers = (np.asarray(number) for number in (request.seed, ANALYSIS, index, 0))
            start, start_key = random_start(model.system, *numbers)
            prepared = model.protocol.prepare(model.potential, start, key=start_key)
        if prepared.accepted:
            return in_box(model, prepared)
        outcomes.append(Outcome(int(prepared.outcome)))
    raise RunError(f"no packing could be prepared: {describe_rejected(count_rejected(outcomes))}")


def _measure_packing(request: Analysis, prepared: Prepared) -> _Packing:
    """The packing with its tunability, without properties that are not numbers and that nobody named."""
    # Tunability is that of the variables with an exact gradient.
    design = request.problem.design
    exact = design.where(estimator.name == "exact" for estimator in design.estimators)
    problem = Problem(request.problem.model, exact, _scalar_terms(request, prepared))
    values = problem.initial_values
    if not {"tunability", "predictiveness"} & set(request.parts):
        return _Packing(problem, values, prepared, None)
    if not problem.terms:
        raise RunError("property=[]: no property fits this protocol; name one, or leave out tunability")
    measured = measure_on_host(problem, values, prepared, "the packing")
    wrong = [
        name
        for name in problem.terms
        if not all(np.all(np.isfinite(x)) for x in jax.tree.leaves((measured.values[name], measured.gradients[name])))
    ]
    if wrong:
        rigid = is_rigid(problem, values, prepared)
        reason = "the value or the gradient is not a number for this packing" if rigid else NOT_RIGID
        if not request.implicit or len(wrong) == len(problem.terms):
            raise RunError(f"{', '.join(wrong)}: {reason}")
        logger.warning("left out: %s: %s", ", ".join(wrong), reason)
    problem = problem.only(name for name in problem.terms if name not in wrong)
    finite = Measurement(
        {name: measured.values[name] for name in problem.terms},
        {name: measured.gradients[name] for name in problem.terms},
    )
    sample = Sample(0, Outcome.converged, {}, finite, prepared)
    of_packing = tunability(problem.design, values, [sample], **_scales(request, single=True))
    return _Packing(problem, values, prepared, of_packing)


def _scalar_terms(request: Analysis, prepared: Prepared) -> dict[str, Term]:
    """The terms, array properties replaced by their entries, or left out where nobody named them."""
    model, terms = request.problem.model, request.problem.terms

    def values(prepared: Prepared) -> dict[str, Array]:
        state = model.protocol.attach(model.potential, prepared)
        return {name: term.property.measure(state) for name, term in terms.items()}

    bare = dataclasses.replace(prepared, statistics={})
    shapes = {name: tuple(value.shape) for name, value in eqx.filter_eval_shape(values, bare).items()}
    if request.implicit:
        terms = {name: term for name, term in terms.items() if not shapes[name]}
    return scalar_terms(terms, shapes)


class _Scales(TypedDict):
    """Options of `tunability`."""

    property_scales: str | Mapping[str, float]
    design_scales: str
    average: str
    clip: float


def _scales(request: Analysis, single: bool = False) -> _Scales:
    """The options of `tunability` that a request gives; a single packing has no standard deviation."""
    property_scales = request.property_scale
    if single and property_scales == "standard_deviation":
        property_scales = "magnitude"
    return {
        "property_scales": property_scales,
        "design_scales": request.design_scale,
        "average": request.average,
        "clip": request.clip,
    }


def _tunability(run: _Run, packing: _Packing) -> TunabilityReport:
    """The tunability of the ensemble if one is asked for, else of the packing."""
    request, design = run.request, packing.problem.design
    result, requested, rejected = packing.tunability, 1, {}
    assert result is not None
    if request.n_configurations:
        samples = _fresh_samples(run, packing)
        result = tunability(design, packing.values, samples, **_scales(request))
        requested, rejected = len(samples), count_rejected(sample.outcome for sample in samples)
    change = _wanted_change(request, packing.problem, result)
    report = tunability_report(result, design, packing.values, change, requested=requested, rejected=rejected)

    def draw(options: PlotOptions) -> "Figure":
        from ..plots.tunability import tunability_figure

        return tunability_figure(report, options)

    run.write("tunability", draw)
    return report


def _fresh_samples(run: _Run, packing: _Packing) -> list[Sample]:
    """Fresh packings with values and gradients."""
    request = run.request
    ensemble = Ensemble(packing.problem, request.seed, ANALYSIS, chunk_size=request.chunk_size)
    samples: list[Sample] = []
    for of_round in ensemble.rounds(run.executor, packing.values, range(request.n_configurations)):
        samples += of_round
        run.bar.advance(len(of_round))
        rejected = describe_rejected(count_rejected(sample.outcome for sample in samples))
        run.bar.describe(f"tunability: {len(samples)} packings  {rejected}".rstrip())
        run.check_stop()
    return samples


def _wanted_change(request: Analysis, problem: Problem, measured: Tunability) -> dict[str, float]:
    """The change that was asked for, or the way from the present mean to the targets."""
    if request.change:
        for name in request.change:
            if name not in measured.properties:
                raise RunError(f"change.{name}: not measured; {suggestion(name, measured.properties)}")
        return dict(request.change)
    mean = dict(zip(measured.properties, np.mean(measured.values, axis=0).tolist(), strict=True))
    targets = {name: term.target for name, term in problem.terms.items()}
    return {name: target - mean[name] for name, target in targets.items() if target is not None and name in mean}


def _predictiveness(run: _Run, packing: _Packing, key: PRNGKeyArray) -> dict[str, PredictivenessReport]:
    """Steps along the gradient of each property."""
    assert packing.tunability is not None
    report = predictiveness(
        packing.problem,
        packing.values,
        packing.prepared,
        packing.tunability,
        run.request.steps,
        key,
        before_each=run.check_stop,
    )

    def draw(options: PlotOptions) -> "Figure":
        from ..plots.predictiveness import predictiveness_figure

        return predictiveness_figure(report, options)

    run.write("predictiveness", draw)
    return report
