import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import equinox as eqx
import numpy as np
import optax

from .._errors import RunError, Stopped
from ..evaluation.design import Design
from ..evaluation.ensemble import Ensemble
from ..evaluation.loss import Evaluation, combine_terms, evaluate
from ..evaluation.measurement import Sample
from ..evaluation.problem import Model
from ..execution.executor import Executor
from ..execution.signals import Terminated
from ..run.checkpoint import Checkpoint, pack
from ..run.directory import RunDirectory, write_atomically
from ..run.extxyz import write_configuration
from ..run.progress import Silent, TrainingProgress
from .experiment import Experiment
from .metrics import check_rejections, final_result, metrics, reached
from .training_state import TrainingState, initial_state, restore

# Share of the present step in what is known about the typical length of a gradient.
MEMORY = 0.1


def train(experiment: Experiment, directory: str | Path | None = None, *, progress: bool = True) -> dict[str, Any]:
    """Run a training to its tolerance or its last step; returns what `result.json` holds.

    **Arguments:**

    - `experiment`: what is to be trained.
    - `directory`: where the run directory's files go; None writes nothing.
    - `progress`: whether to show a bar (on a terminal) or lines (elsewhere) on standard error.

    Raises `RunError` if too many configurations are rejected, and `Stopped` at the end of the step in which a SIGTERM
    arrived, with a checkpoint written.
    """
    _ = experiment.problem  # checks it
    with Executor(experiment.devices) as executor:
        output = RunDirectory(directory) if directory is not None and executor.rank == 0 else None
        if output is not None:
            output.clear()
            _write_start(output, experiment)
        return _run(experiment, executor, output, initial_state(experiment), [], progress)


def resume(experiment: Experiment, directory: str | Path, *, progress: bool = True) -> dict[str, Any]:
    """Go on with a training from its last checkpoint, to the same end as if it had never been interrupted.

    A checkpoint that cannot be read is named on standard error, and the one before it is used; without any, the
    training starts again.
    """
    _ = experiment.problem  # checks it
    with Executor(experiment.devices) as executor:
        state, complaints = None, []
        for path in RunDirectory.checkpoints(directory):
            try:
                state = restore(experiment, Checkpoint.read(path))
                break
            except ValueError as error:
                complaints.append(f"{path}: {error}")
        if executor.rank == 0:
            for complaint in complaints:
                print(f"glasswright: warning: checkpoint not usable: {complaint}", file=sys.stderr)
            start = "the beginning: there is no usable checkpoint" if state is None else f"step {state.step}"
            print(f"glasswright: going on from {start}", file=sys.stderr)
        state = initial_state(experiment) if state is None else state
        lines = RunDirectory.read_metrics(directory)[: state.step]
        if len(lines) < state.step:
            raise RunError(
                f"{directory}/metrics.jsonl: has {len(lines)} of the {state.step} steps before the checkpoint"
            )
        output = None
        if executor.rank == 0:
            # What was changed for it stays changed if it is resumed again, and it has not ended before it does.
            if experiment.config is not None:
                write_atomically(Path(directory) / "config.yaml", experiment.config)
            (Path(directory) / "result.json").unlink(missing_ok=True)
            output = RunDirectory(directory, keep=lines)
        return _run(experiment, executor, output, state, lines, progress)


def _run(experiment: Experiment, executor: Executor, output, state: TrainingState, lines, progress: bool):
    """Steps from `state` on, behind the metrics `lines` of those before."""
    begin, before = perf_counter(), sum(line["seconds"] for line in lines)
    try:
        with (
            TrainingProgress(experiment.steps) if progress and executor.rank == 0 else Silent() as bar,
            Terminated() as stop,
        ):
            while True:
                clock = perf_counter()
                samples, evaluation = look(experiment, executor, state)
                next_state = move(experiment, state, samples, evaluation)
                line = metrics(experiment, state, evaluation, samples, next_state.optimizer)
                for name, factor in next_state.factors.items():
                    line["terms"][name]["factor"] = factor
                last = reached(experiment, line) or state.step + 1 >= experiment.steps
                line["seconds"] = perf_counter() - clock
                lines.append(line)
                if output is not None:
                    output.append_metrics(line)
                bar.update(line, last=last)
                check_rejections(experiment, lines)
                if last:
                    break
                state = next_state
                stopping = executor.any_process(stop.requested)
                if stopping or state.step % experiment.checkpoint_interval == 0:
                    _write_checkpoint(experiment, executor, output, state)
                if stopping:
                    hint = "" if output is None else f"; go on with: glasswright resume {output.path}"
                    raise Stopped(f"stopped by SIGTERM after step {line['step']}{hint}")
        result = final_result(experiment, state, lines, before + perf_counter() - begin)
        frames = _frames(executor, samples) if experiment.sampler.is_population else []
        if output is not None:
            _write_end(output, experiment, state, samples, lines, result, frames)
        return result
    finally:
        if output is not None:
            output.close()


def look(experiment: Experiment, executor: Executor, state: TrainingState) -> tuple[list[Sample], Evaluation]:
    """Prepare and measure what the coming step looks at: follow what the last one looked at, draw the rest."""
    indices = experiment.sampler.indices(state.step)
    ensemble = Ensemble(experiment.problem, experiment.seed, chunk_size=experiment.chunk_size)
    samples = ensemble.samples(
        executor,
        state.values,
        indices,
        step=state.step,
        previous=state.prepared,
        keep=set(experiment.sampler.indices(state.step + 1)),
    )
    evaluation = evaluate(
        experiment.problem,
        state.values,
        experiment.sampler,
        samples,
        executor,
        None if experiment.clip is None else {name: experiment.clip * float(x) for name, x in state.lengths.items()},
    )
    return samples, evaluation


def move(experiment: Experiment, state: TrainingState, samples: list[Sample], evaluation: Evaluation) -> TrainingState:
    """The state after the design has moved; a step without a loss changes nothing."""
    values, optimizer, combination = state.values, state.optimizer, state.combination
    factors: dict[str, float] = {}
    if evaluation.loss is not None:
        combined = combine_terms(experiment.combination, experiment.terms, evaluation, state.combination)
        factors, combination = combined.factors, combined.state
        loss, gradient = np.asarray(combined.value), combined.gradient
        problem = experiment.problem
        values, optimizer = _move(
            experiment.optimizer, problem.design, problem.model, gradient, loss, state.optimizer, state.values
        )
    following = set(experiment.sampler.indices(state.step + 1))
    kept = {one.index: one.prepared for one in samples if one.index in following and one.prepared is not None}
    lengths = _typical(state.lengths, evaluation.lengths)
    return TrainingState(state.step + 1, values, optimizer, kept, lengths, combination, factors)


def _typical(before: dict[str, np.ndarray], now: dict[str, float]) -> dict[str, np.ndarray]:
    """Typical lengths after another step: a running geometric mean of the medians of the steps."""
    result = {}
    for name, old in before.items():
        new = np.asarray(now.get(name, np.nan))
        if not new > 0.0:
            result[name] = old
        else:
            result[name] = np.asarray(new if np.isnan(old) else old ** (1.0 - MEMORY) * new**MEMORY)
    return result


@eqx.filter_jit
def _move(optimizer, design: Design, model: Model, gradient, loss, state, values):
    """The design and the optimiser's state after one update; optimisers that want the loss are given it."""
    updates, state = optax.with_extra_args_support(optimizer).update(gradient, state, values, value=loss)
    return design.step(model, values, updates), state


def _write_start(output: RunDirectory, experiment: Experiment) -> None:
    from ..run.provenance import provenance

    output.write_json("provenance.json", provenance())
    if experiment.config is not None:
        output.write_text("config.yaml", experiment.config)


def _write_checkpoint(
    experiment: Experiment, executor: Executor, output: RunDirectory | None, state: TrainingState
) -> None:
    """The state before the coming step, with what every process follows."""
    followed = executor.gather(
        {
            index: {
                "outcome": int(one.outcome),
                "statistics": {name: np.asarray(number).item() for name, number in one.statistics.items()},
                "configuration": pack(one.configuration),
                "memory": None if one.memory is None else pack(one.memory),
            }
            for index, one in state.prepared.items()
        }
    )
    if output is not None:
        content = {
            "values": pack(state.values),
            "optimizer": pack(state.optimizer),
            "lengths": pack(state.lengths),
            "combination": pack(state.combination),
            "prepared": followed,
        }
        output.write_checkpoint(state.step, Checkpoint(state.step, content))


def _frames(executor: Executor, samples: list[Sample]) -> list[str]:
    """The accepted packings of all processes as text, in the order of their indices."""
    mine = {
        one.index: write_configuration(one.prepared.configuration)
        for one in samples
        if one.measured is not None and one.prepared is not None
    }
    return list(executor.gather(mine).values())


def _write_end(output: RunDirectory, experiment: Experiment, state, samples, lines, result, frames: list[str]) -> None:
    from ..components.objective import target_of
    from ..plots.training import training_figure

    accepted = [one.prepared for one in samples if one.measured is not None and one.prepared is not None]
    shown = accepted[0] if accepted and experiment.sampler.is_population else None
    potential = experiment.problem.at(state.values).potential
    diameters = getattr(potential, "diameter", None)
    targets = {name: target_of(term) for name, term in experiment.terms.items()}
    if frames:
        output.write_text("final.extxyz", "".join(frames))
    output.write_bytes(
        "training.png",
        training_figure(
            lines,
            targets,
            experiment.tolerance if experiment.can_succeed else 0.0,
            None if shown is None else shown.configuration,
            None if diameters is None else np.asarray(diameters),
        ),
    )
    # Last: a directory with a result is complete.
    output.write_json("result.json", result)
