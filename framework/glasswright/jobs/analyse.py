"""`analyse`: what a packing or an ensemble can become, how far gradients predict, its bonds and its vibrations."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._errors import RunError, Stopped, suggestion
from ..components.objective import Term
from ..components.protocol import Outcome, Prepared
from ..evaluation.ensemble import Ensemble, random_start
from ..evaluation.measurement import Measured, Sample, in_box, measure
from ..evaluation.problem import Problem
from ..evaluation.statistics import count_rejected, describe_rejected
from ..execution.executor import Executor
from ..execution.signals import Terminated
from ..physics.bonds import BondContributions
from ..physics.vibrations import VibrationalModes, spectrum
from ..run.directory import start_folder, write_atomically, write_json
from ..run.progress import CountProgress, Silent
from .analysis import PARTS, Analysis, check_analysis
from .measure import max_force
from .predictiveness import predictiveness
from .tunability import Tunability, scalar_terms, tunability, tunability_report

# Packings of an analysis are none of a training (0) and none of a validation (1).
ANALYSIS = 2
# Starts that are tried for the one packing that the other parts look at.
MOST_STARTS = 20
# Bonds that are named and drawn.
LARGEST = 10


def analyse(request: Analysis, directory: str | Path | None = None, *, progress: bool = True) -> dict[str, Any]:
    """Analyse a packing or an ensemble; returns what `analysis.json` holds.

    **Arguments:**

    - `directory`: where `analysis.json` and the pictures go; None writes nothing.
    - `progress`: whether to show a bar (on a terminal) or lines (elsewhere) on standard error.
    """
    check_analysis(request)
    with Executor(request.devices) as executor:
        folder = None if directory is None or executor.rank > 0 else Path(directory)
        if folder is not None:
            stale = ("analysis.json", "bonds.npz", *(f"{part}.png" for part in PARTS))
            # What an earlier analysis left here would be taken for this one's.
            start_folder(folder, request.config, stale)
        total = 1 + request.n_configurations * ("tunability" in request.parts) + len(request.parts)
        with (
            CountProgress("analyse", total) if progress and executor.rank == 0 else Silent() as bar,
            Terminated() as stop,
        ):
            work = _Work(request, executor, folder, bar, stop)
            report = work.run()
        if folder is not None:
            # Last: a directory with it is complete.
            write_json(folder / "analysis.json", report)
        return report


class _Work:
    """One analysis as it goes: the packing, and the parts one after the other."""

    def __init__(self, request: Analysis, executor: Executor, folder: Path | None, bar: Any, stop: Any):
        self.request, self.executor, self.folder, self.bar, self.stop = request, executor, folder, bar, stop
        self.problem = request.problem
        self.values = request.problem.initial_values
        self.key = jax.random.key(request.seed)

    def run(self) -> dict[str, Any]:
        request = self.request
        self.bar.describe("the packing")
        self.prepared = self.prepare()
        self.bar.advance(1)
        # From here on the terms are numbers.
        self.problem = Problem(request.problem.model, request.problem.design, self.scalar_terms())
        configuration = self.prepared.configuration
        report: dict[str, Any] = {
            "packing": {
                "source": request.source,
                "n_particles": configuration.n_particles,
                "dimension": configuration.dimension,
                "max_force": max_force(self.problem.model.potential, configuration),
            },
            "design": {name: np.asarray(value) for name, value in self.values.items()},
        }
        needs_jacobian = {"tunability", "predictiveness"} & set(request.parts)
        if needs_jacobian and not self.problem.terms:
            raise RunError("property=[]: no property fits this protocol; name one, or leave out tunability")
        self.single = self.of_the_packing() if needs_jacobian else None
        for part in PARTS:
            if part in request.parts:
                self.check_stop()
                self.bar.describe(part)
                report[part] = getattr(self, part)()
                self.bar.advance(1)
                self.bar.describe(part)
        return report

    def check_stop(self) -> None:
        if self.executor.any_process(self.stop.requested):
            raise Stopped("stopped by SIGTERM; the analysis is not complete")

    def prepare(self) -> Prepared:
        """The one packing: that of the request at its minimum, or the first fresh one that converges."""
        model = self.problem.model
        protocol, potential, system = model.protocol, model.potential, model.system
        outcomes = []
        for index in range(1 if self.request.packing is not None else MOST_STARTS):
            if self.request.packing is not None:
                prepared = protocol.prepare(potential, self.request.packing, key=self.key)
            else:
                numbers = (np.asarray(number) for number in (self.request.seed, ANALYSIS, index, 0))
                start, key = random_start(system, *numbers)
                prepared = protocol.prepare(potential, start, key=key)
            if prepared.accepted:
                return in_box(system, prepared)
            outcomes.append(Outcome(int(prepared.outcome)))
        raise RunError(f"no packing could be prepared: {describe_rejected(count_rejected(outcomes))}")

    def scalar_terms(self) -> dict[str, Term]:
        """The terms, array properties replaced by their entries, or left out where nobody named them."""
        protocol, potential = self.problem.model.protocol, self.problem.model.potential

        def values(prepared):
            state = protocol.attach(potential, prepared)
            return {name: term.property.measure(state) for name, term in self.problem.terms.items()}

        bare = dataclasses.replace(self.prepared, statistics={})
        shapes = {name: tuple(one.shape) for name, one in eqx.filter_eval_shape(values, bare).items()}
        terms = self.problem.terms
        if self.request.implicit:
            terms = {name: term for name, term in terms.items() if not shapes[name]}
        return scalar_terms(terms, shapes)

    def of_the_packing(self) -> Tunability:
        """The tunability of the one packing, without properties that are not numbers and that nobody named."""
        bare = dataclasses.replace(self.prepared, statistics={})
        found = measure(self.problem, self.values, bare)
        found = jax.tree.map(np.asarray, found)
        wrong = [
            name
            for name in self.problem.terms
            if not all(np.all(np.isfinite(x)) for x in jax.tree.leaves((found.values[name], found.gradients[name])))
        ]
        if wrong and (not self.request.implicit or len(wrong) == len(self.problem.terms)):
            raise RunError(f"{', '.join(wrong)}: the value or the gradient is not a number for this packing")
        self.problem = self.problem.only(name for name in self.problem.terms if name not in wrong)
        names = self.problem.terms
        kept = Measured({name: found.values[name] for name in names}, {name: found.gradients[name] for name in names})
        one = Sample(0, Outcome.converged, {}, kept, self.prepared)
        return tunability(self.problem.design, self.values, [one], **self.scales(single=True))

    def scales(self, single: bool = False) -> dict[str, Any]:
        request = self.request
        of_properties = request.property_scale
        if single and of_properties == "standard_deviation":
            of_properties = "magnitude"
        return {
            "property_scales": of_properties,
            "design_scales": request.design_scale,
            "average": request.average,
            "clip": request.clip,
        }

    def tunability(self) -> dict[str, Any]:
        """Of the ensemble if one is asked for, else of the packing."""
        found, requested, rejected = self.single, 1, {}
        assert found is not None
        if self.request.n_configurations:
            samples = self.samples()
            found = tunability(self.problem.design, self.values, samples, **self.scales())
            requested, rejected = len(samples), count_rejected(one.outcome for one in samples)
        report = tunability_report(found, self.problem.design, self.values, self.change(found))
        report |= {"requested": requested, "converged": len(found.values), "rejected": rejected}
        if self.folder is not None:
            from ..plots.tunability import tunability_figure

            write_atomically(self.folder / "tunability.png", tunability_figure(report))
        return report

    def samples(self) -> list[Sample]:
        """Fresh packings with values and gradients."""
        ensemble = Ensemble(self.problem, self.request.seed, ANALYSIS, chunk_size=self.request.chunk_size)
        samples: list[Sample] = []
        for found in ensemble.rounds(self.executor, self.values, range(self.request.n_configurations)):
            samples += found
            self.bar.advance(len(found))
            rejected = describe_rejected(count_rejected(one.outcome for one in samples))
            self.bar.describe(f"tunability: {len(samples)} packings  {rejected}".rstrip())
            self.check_stop()
        return samples

    def change(self, found: Tunability) -> dict[str, float]:
        """What is wanted: as asked for, or from the present mean to the targets."""
        from ..components.objective import target_of

        if self.request.change:
            for name in self.request.change:
                if name not in found.properties:
                    raise RunError(f"change.{name}: not measured; {suggestion(name, found.properties)}")
            return dict(self.request.change)
        mean = dict(zip(found.properties, np.mean(found.values, axis=0).tolist(), strict=True))
        targets = {name: target_of(term) for name, term in self.problem.terms.items()}
        return {name: target - mean[name] for name, target in targets.items() if target is not None and name in mean}

    def predictiveness(self) -> dict[str, Any]:
        """Steps along the gradient of each property."""
        assert self.single is not None
        report = predictiveness(
            self.problem,
            self.values,
            self.prepared,
            self.single,
            self.request.steps,
            self.key,
            self.check_stop,
        )
        if self.folder is not None:
            from ..plots.predictiveness import predictiveness_figure

            write_atomically(self.folder / "predictiveness.png", predictiveness_figure(report))
        return report

    def bonds(self) -> dict[str, Any]:
        """What each bond contributes to the moduli."""
        from ..plots.bonds import bonds_figure, moduli

        potential, configuration = self.problem.model.potential, self.prepared.configuration
        found = _bond_contributions(self.problem.model.protocol, potential, self.prepared)
        largest = {name: np.argsort(-np.abs(one))[:LARGEST] for name, one in moduli(found).items()}
        if self.folder is not None:
            picture = bonds_figure(found, largest, configuration, _diameters(potential))
            write_atomically(self.folder / "bonds.png", picture)
        mask = np.asarray(found.mask)
        report: dict[str, Any] = {}
        for name, one in moduli(found).items():
            total = float(np.sum(one))
            which = largest[name]
            report[name] = {
                "sum": total,
                "n_bonds": int(np.sum(mask)),
                "n_negative": int(np.sum(one[mask] < 0.0)),
                "share_of_ten": float(np.sum(one[which])) / total,
                "largest": [
                    {
                        "i": int(found.i[k]),
                        "j": int(found.j[k]),
                        "distance": float(found.distance[k]),
                        "contribution": float(one[k]),
                        "share": float(one[k]) / total,
                    }
                    for k in which
                ],
            }
        if self.folder is not None:
            columns = {"i": found.i, "j": found.j, "distance": found.distance, **moduli(found)}
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **{name: np.asarray(column)[mask] for name, column in columns.items()})
            write_atomically(self.folder / "bonds.npz", buffer.getvalue())
        return report

    def vibrations(self) -> dict[str, Any]:
        """Spectrum of the Hessian."""
        potential, configuration = self.problem.model.potential, self.prepared.configuration
        found = spectrum(_vibrational_modes(self.problem.model.protocol, potential, self.prepared))
        if not len(found.frequency):
            raise RunError("vibrations: every mode of this packing is a zero mode")
        if self.folder is not None:
            from ..plots.vibrations import vibrations_figure

            picture = vibrations_figure(found, configuration, _diameters(potential))
            write_atomically(self.folder / "vibrations.png", picture)
        return {
            "lowest_frequency": found.frequency[0],
            "lowest_eigenvalue": found.frequency[0] ** 2,
            "participation_ratio_of_softest": found.participation_ratio[0],
            "n_modes": len(found.frequency),
            "n_zero_modes": found.n_zero_modes,
            "n_unstable_modes": found.n_unstable_modes,
            "frequency": found.frequency,
            "participation_ratio": found.participation_ratio,
        }


@eqx.filter_jit
def _bond_contributions(protocol: Any, potential: Any, prepared: Prepared) -> BondContributions:
    return protocol.attach(potential, prepared).bond_contributions


@eqx.filter_jit
def _vibrational_modes(protocol: Any, potential: Any, prepared: Prepared) -> VibrationalModes:
    return protocol.attach(potential, prepared).vibrations


def _diameters(potential: Any) -> np.ndarray | None:
    diameters = getattr(potential, "diameter", None)
    return None if diameters is None else np.asarray(diameters)
