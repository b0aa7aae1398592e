"""Training: prepare and measure, evaluate the loss, change the design, until the target or the last step is reached."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import cast

import equinox as eqx
import numpy as np
import optax
from jaxtyping import Array, ArrayLike

from .._errors import RequestError, RunError
from ..components.executor import started
from ..evaluation.combining import combine_terms
from ..evaluation.design import Design
from ..evaluation.ensemble import Ensemble
from ..evaluation.estimation import evaluate_estimated
from ..evaluation.loss import Evaluation, evaluate
from ..evaluation.measurement import Sample
from ..evaluation.model import Model
from ..execution.executor import Executor
from ..execution.peers import PeerLost
from ..execution.signals import Terminated
from ..run.checkpoint import Checkpoint
from ..run.claim import resume_command
from ..run.directory import RunDirectory
from ..run.files import write_atomically
from ..run.pictures import picture_files
from ..run.progress import progress_bar
from .best import best_frames, best_of_lines, better, with_texts
from .ending import Ending, lost_its_way
from .experiment import Experiment
from .metrics import Metrics, TrainingResult, check_rejections, final_result, reached, step_metrics
from .record import TrainingRecord
from .tracking import Tracking
from .training_files import final_frames, write_end, write_start
from .training_state import TrainingState, first_not_finite, from_checkpoint, initial_state, to_checkpoint
from .trajectory import TRAJECTORY, keep_trajectory, trajectory_frames

logger = logging.getLogger(__name__)
# Weight of the present step in the running mean of gradient lengths.
LENGTH_WEIGHT = 0.1


def train(
    experiment: Experiment,
    directory: str | Path | None = None,
    *,
    progress: bool = True,
    record: TrainingRecord | None = None,
) -> TrainingResult:
    """Run a training to its tolerance or its last step; returns what `result.json` holds.

    **Arguments:**

    - `experiment`: what is to be trained.
    - `directory`: where the run directory's files go; None writes nothing.
    - `progress`: whether to show a bar (on a terminal) or lines (elsewhere) on standard error.
    - `record`: what keeps the steps and the packings, also of a training that is interrupted; None keeps nothing.

    Raises `RequestError` if the experiment is wrong, `RunError` if too many configurations are rejected, and
    `Stopped` or `Interrupted` at the end of the step in which a SIGTERM or a Ctrl-C arrived, with a checkpoint written.
    """
    state = initial_state(experiment)
    with started(experiment.executor, experiment.devices) as executor:
        output = RunDirectory(directory) if directory is not None and executor.rank == 0 else None
        if output is not None:
            output.clear()
            write_start(output, experiment)
        return _run(experiment, executor, output, state, [], progress, record)


def resume(experiment: Experiment, directory: str | Path, *, progress: bool = True) -> TrainingResult:
    """Go on with a training from its last checkpoint, to the same end as if it had never been interrupted.

    A checkpoint that cannot be read is named in a warning, and the one before it is used; without any, the training
    starts again. Raises `RequestError` if there is a sound one of another experiment.
    """
    start = initial_state(experiment)
    with started(experiment.executor, experiment.devices) as executor:
        state, failures = _last_state(experiment, directory)
        if executor.rank == 0:
            for failure in failures:
                logger.warning("checkpoint not usable: %s", failure)
            origin = "the beginning: there is no usable checkpoint" if state is None else f"step {state.step}"
            logger.info("going on from %s", origin)
        state = start if state is None else state
        _check_same_step(executor, state)
        lines = cast(list[Metrics], RunDirectory.read_metrics(directory)[: state.step])
        if len(lines) < state.step:
            raise RunError(
                f"{directory}/metrics.jsonl: has {len(lines)} of the {state.step} steps before the checkpoint"
            )
        if state.best is None:
            state = dataclasses.replace(state, best=best_of_lines(experiment, lines))
        output = None
        if executor.rank == 0:
            # What was changed for it stays changed if it is resumed again, and it has not ended before it does.
            if experiment.config is not None:
                write_atomically(Path(directory) / "config.yaml", experiment.config)
            # Nor is the packing of its end one of this design.
            for name in ("result.json", "final.extxyz", "packings.extxyz", *picture_files("training")):
                (Path(directory) / name).unlink(missing_ok=True)
            keep_trajectory(Path(directory), state.step)
            output = RunDirectory(directory, keep=lines)
        return _run(experiment, executor, output, state, lines, progress)


def _check_same_step(executor: Executor, state: TrainingState) -> None:
    """Raise `RunError` unless all processes go on from the same step."""
    steps = executor.gather({executor.rank: state.step})
    if len(set(steps.values())) > 1:
        listed = ", ".join(f"process {rank} from step {step}" for rank, step in steps.items())
        raise RunError(f"the processes would go on from different steps ({listed}): all have to see the same directory")


def _last_state(experiment: Experiment, directory: str | Path) -> tuple[TrainingState | None, list[str]]:
    """The state of the newest checkpoint that can be used, if any, and what is wrong with those that cannot.

    Raises `RequestError` if none can be used and a sound one is of another experiment: to start again would lose it.
    """
    failures: list[str] = []
    misfits: list[str] = []
    for path in RunDirectory.checkpoints(directory):
        try:
            checkpoint = Checkpoint.read(path)
        except ValueError as error:
            failures.append(f"{path}: {error}")
            continue
        try:
            return from_checkpoint(experiment, checkpoint), failures
        except ValueError as error:
            failures.append(f"{path}: {error}")
            misfits.append(f"{path} does not fit the experiment of config.yaml: {error}")
    if misfits:
        raise RequestError(f"DIR={directory}: cannot go on, and is left as it is: {misfits[0]}")
    return None, failures


def _run(
    experiment: Experiment,
    executor: Executor,
    output: RunDirectory | None,
    state: TrainingState,
    lines: list[Metrics],
    progress: bool,
    record: TrainingRecord | None = None,
) -> TrainingResult:
    """Steps from `state` on; the metrics of the steps before are in `lines`."""
    begin, seconds_before = perf_counter(), sum(line["seconds"] for line in lines)
    tracking = Tracking(experiment.trackers if executor.rank == 0 else {})
    meter = progress_bar("train", experiment.steps, shown=progress and executor.rank == 0)
    try:
        tracking.start(None if output is None else output.path, experiment.config, state.step)
        with meter as bar, Terminated() as stop:
            while True:
                clock = perf_counter()
                samples, evaluation = evaluate_step(experiment, executor, state)
                next_state = update(experiment, state, samples, evaluation)
                line = step_metrics(state, next_state, samples, evaluation, seconds=perf_counter() - clock)
                lines.append(line)
                if record is not None:
                    record.keep(state, samples, lines)
                succeeded = reached(experiment, line["loss"])
                lost = None if succeeded else lost_its_way(experiment, lines)
                last = succeeded or lost is not None or state.step + 1 >= experiment.steps
                frames_of_step = trajectory_frames(experiment, executor, state.step, state.values, samples)
                if output is not None:
                    output.append_metrics(line)
                    output.append_text(TRAJECTORY, frames_of_step)
                bar.update(line, last=last)
                tracking.step(line)
                check_rejections(experiment, lines)
                if last:
                    break
                broken = first_not_finite(state, next_state)
                if broken is not None:
                    _keep_last_good(experiment, executor, output, state)
                    raise RunError(_describe_broken(broken, state.step, evaluation, output))
                state = next_state
                stopping = executor.any_process(stop.requested)
                if stopping or state.step % experiment.checkpoint_interval == 0:
                    checkpoint = to_checkpoint(experiment, state, executor)
                    state = dataclasses.replace(state, best=with_texts(state.best, checkpoint.content["best"]))
                    if output is not None:
                        output.write_checkpoint(state.step, checkpoint)
                if stopping:
                    hint = "" if output is None else f"; go on with: {resume_command(output.path)}"
                    raise stop.error(f"after step {line['step']}{hint}")
        best = next_state.best
        ended: Ending = "target" if succeeded else "last_step"
        if lost is not None:
            ended, why = lost
            logger.warning("stopped after step %d of %d: %s", line["step"], experiment.steps, why)
        seconds = seconds_before + perf_counter() - begin
        result = final_result(experiment, state, best, lines, seconds, ended)
        frames = final_frames(experiment, executor, state.values, samples)
        frames_of_best = best_frames(experiment, executor, best)
        if output is not None:
            write_end(output, experiment, state, samples, lines, result, frames, frames_of_best)
        tracking.end(result)
        return result
    except PeerLost as error:
        command = "glasswright resume and its directory" if output is None else resume_command(output.path)
        raise RunError(f"{error}; go on from the last checkpoint with: {command}") from error
    finally:
        tracking.end(None)
        if output is not None:
            output.close()


def _keep_last_good(
    experiment: Experiment, executor: Executor, output: RunDirectory | None, state: TrainingState
) -> None:
    """Write the checkpoint of the last state that was good, before an update that was not."""
    checkpoint = to_checkpoint(experiment, state, executor)
    if output is not None:
        output.write_checkpoint(state.step, checkpoint)


def _describe_broken(broken: str, step: int, evaluation: Evaluation, output: RunDirectory | None) -> str:
    """What an update has made not finite, where that comes from, and what is left."""
    gradients = [
        name
        for name, gradient in evaluation.gradients.items()
        if not all(np.all(np.isfinite(part)) for part in gradient.values())
    ]
    cause = (
        f"the gradient of terms.{gradients[0]} is not finite"
        if gradients
        else "the gradient is finite: look at the parameters of the optimizer, such as its learning rate"
    )
    kept = "" if output is None else f"; the state before it is kept in {output.path / 'checkpoints'}"
    return f"{broken} is not a number after step {step}; {cause}{kept}"


def evaluate_step(experiment: Experiment, executor: Executor, state: TrainingState) -> tuple[list[Sample], Evaluation]:
    """Prepare and measure the configurations of a step, and evaluate the loss and its gradient."""
    ensemble = Ensemble(experiment.problem, experiment.seed, chunk_size=experiment.chunk_size)
    indices = experiment.sampler.indices(state.step)
    limits = None
    if experiment.clip is not None:
        limits = {name: experiment.clip * float(length) for name, length in state.lengths.items()}
    if not experiment.problem.design.is_exact:
        return evaluate_estimated(
            ensemble, executor, state.values, experiment.sampler, indices, step=state.step, limits=limits
        )
    samples = ensemble.samples(
        executor,
        state.values,
        indices,
        step=state.step,
        previous=state.prepared,
        keep=set(experiment.sampler.indices(state.step + 1)),
    )
    evaluation = evaluate(experiment.problem, state.values, experiment.sampler, samples, executor, limits)
    return samples, evaluation


def update(
    experiment: Experiment, state: TrainingState, samples: list[Sample], evaluation: Evaluation
) -> TrainingState:
    """The state after the optimizer has changed the design; a step without a loss changes nothing."""
    values, optimizer, combination = state.values, state.optimizer, state.combination
    factors: dict[str, float] = {}
    if evaluation.loss is not None:
        combined = combine_terms(experiment.combination, experiment.terms, evaluation, state.combination)
        factors, combination = combined.factors, combined.state
        loss, gradient = np.asarray(combined.value), combined.gradient
        problem = experiment.problem
        values, optimizer = _update_design(
            experiment.optimizer, problem.design, problem.model, gradient, loss, state.optimizer, state.values
        )
    following = set(experiment.sampler.indices(state.step + 1))
    prepared = {s.index: s.prepared for s in samples if s.index in following and s.prepared is not None}
    lengths = _typical_lengths(state.lengths, evaluation.lengths)
    best = better(experiment, state.best, state.step, state.values, samples, evaluation)
    return TrainingState(
        state.step + 1, values, optimizer, prepared, lengths, combination, factors, dict(state.values), best
    )


def _typical_lengths(before: dict[str, np.ndarray], medians: dict[str, float]) -> dict[str, np.ndarray]:
    """Typical lengths after another step: a running geometric mean of the medians of the steps."""
    result = {}
    for name, old in before.items():
        new = np.asarray(medians.get(name, np.nan))
        if not new > 0.0:
            result[name] = old
        else:
            result[name] = np.asarray(new if np.isnan(old) else old ** (1.0 - LENGTH_WEIGHT) * new**LENGTH_WEIGHT)
    return result


@eqx.filter_jit
def _update_design(
    optimizer: optax.GradientTransformation,
    design: Design,
    model: Model,
    gradient: Mapping[str, Array | np.ndarray],
    loss: ArrayLike,
    state: optax.OptState,
    values: dict[str, Array],
) -> tuple[dict[str, Array], optax.OptState]:
    """The design and the optimizer's state after one update; optimizers that want the loss are given it."""
    updates, state = optax.with_extra_args_support(optimizer).update(gradient, state, values, value=loss)
    return design.step(model, values, updates), state
