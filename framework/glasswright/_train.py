import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from ._design import Design
from ._ensemble import Ensemble
from ._errors import RunError, Stopped
from ._experiment import Experiment, check_experiment
from ._gradient import Evaluation, Sample, evaluate
from ._protocol import Outcome, Prepared
from ._signals import Terminated
from ._team import Team
from .run.checkpoint import Checkpoint, pack, unpack
from .run.directory import RunDirectory, write_atomically
from .run.extxyz import write_configuration
from .run.progress import Silent, TrainingProgress

# Steps over which the share of rejected configurations is taken. A design that prepares nothing gives no gradient to
# leave it by: so many empty steps in a row end the run, whatever share is allowed.
REJECTION_WINDOW = 20


# Share of the present step in what is known about the typical length of a gradient.
MEMORY = 0.1


class TrainingState(eqx.Module):
    """All that the next step depends on.

    **Attributes:**

    - `step`: number of the next step.
    - `values`: the design variables by name.
    - `optimizer`: the optimiser's state.
    - `prepared`: the configurations of the last step that the next one follows, by index.
    - `lengths`: typical length of a configuration's gradient of each term, from the steps so far; not a number before.
    """

    step: int
    values: dict[str, Array]
    optimizer: optax.OptState
    prepared: dict[int, Prepared]
    lengths: dict[str, np.ndarray]


def train(experiment: Experiment, directory: str | Path | None = None, *, progress: bool = True) -> dict[str, Any]:
    """Run a training to its tolerance or its last step; returns what `result.json` holds.

    **Arguments:**

    - `experiment`: what is to be trained.
    - `directory`: where the run directory's files go; None writes nothing.
    - `progress`: whether to show a bar (on a terminal) or lines (elsewhere) on standard error.

    Raises `RunError` if too many configurations are rejected, and `Stopped` at the end of the step in which a SIGTERM
    arrived, with a checkpoint written.
    """
    design = check_experiment(experiment)
    with Team(experiment.devices) as team:
        output = RunDirectory(directory) if directory is not None and team.rank == 0 else None
        if output is not None:
            output.clear()
            _write_start(output, experiment)
        return _run(experiment, design, team, output, initial_state(experiment, design), [], progress)


def resume(experiment: Experiment, directory: str | Path, *, progress: bool = True) -> dict[str, Any]:
    """Go on with a training from its last checkpoint, to the same end as if it had never been interrupted.

    A checkpoint that cannot be read is named on standard error, and the one before it is used; without any, the
    training starts again.
    """
    design = check_experiment(experiment)
    with Team(experiment.devices) as team:
        state, complaints = None, []
        for path in RunDirectory.checkpoints(directory):
            try:
                state = restore(experiment, design, Checkpoint.read(path))
                break
            except ValueError as error:
                complaints.append(f"{path}: {error}")
        if team.rank == 0:
            for complaint in complaints:
                print(f"glasswright: warning: checkpoint not usable: {complaint}", file=sys.stderr)
            start = "the beginning: there is no usable checkpoint" if state is None else f"step {state.step}"
            print(f"glasswright: going on from {start}", file=sys.stderr)
        state = initial_state(experiment, design) if state is None else state
        lines = RunDirectory.read_metrics(directory)[: state.step]
        if len(lines) < state.step:
            raise RunError(
                f"{directory}/metrics.jsonl: has {len(lines)} of the {state.step} steps before the checkpoint"
            )
        output = None
        if team.rank == 0:
            # What was changed for it stays changed if it is resumed again, and it has not ended before it does.
            if experiment.config is not None:
                write_atomically(Path(directory) / "config.yaml", experiment.config)
            (Path(directory) / "result.json").unlink(missing_ok=True)
            output = RunDirectory(directory, keep=lines)
        return _run(experiment, design, team, output, state, lines, progress)


def initial_state(experiment: Experiment, design: Design) -> TrainingState:
    """The state before the first step."""
    values = _strong(design.values(experiment.world))
    unknown = {name: np.asarray(np.nan) for name in experiment.terms}
    return TrainingState(0, values, _strong(experiment.optimizer.init(values)), {}, unknown)


def _run(experiment: Experiment, design: Design, team: Team, output, state: TrainingState, lines, progress: bool):
    """Steps from `state` on, behind the metrics `lines` of those before."""
    begin, before = perf_counter(), sum(line["seconds"] for line in lines)
    try:
        with (
            TrainingProgress(experiment.steps) if progress and team.rank == 0 else Silent() as bar,
            Terminated() as stop,
        ):
            while True:
                clock = perf_counter()
                samples, evaluation = look(experiment, design, team, state)
                next_state = move(experiment, design, state, samples, evaluation)
                line = _metrics(experiment, state, evaluation, samples, next_state.optimizer)
                last = _reached(experiment, line) or state.step + 1 >= experiment.steps
                line["seconds"] = perf_counter() - clock
                lines.append(line)
                if output is not None:
                    output.append_metrics(line)
                bar.update(line, last=last)
                _check_rejections(experiment, lines)
                if last:
                    break
                state = next_state
                stopping = team.any(stop.requested)
                if stopping or state.step % experiment.checkpoint_interval == 0:
                    _write_checkpoint(experiment, team, output, state)
                if stopping:
                    hint = "" if output is None else f"; go on with: glasswright resume {output.path}"
                    raise Stopped(f"stopped by SIGTERM after step {line['step']}{hint}")
        result = _result(experiment, design, state, lines, before + perf_counter() - begin)
        if output is not None:
            _write_end(output, experiment, design, state, samples, lines, result)
        return result
    finally:
        if output is not None:
            output.close()


def _strong(tree: Any) -> Any:
    """Arrays without JAX's weak types, which the first update would lose: everything would be compiled twice."""
    return jax.tree.map(lambda x: jnp.asarray(x, dtype=x.dtype) if eqx.is_array(x) else x, tree)


def look(experiment: Experiment, design: Design, team: Team, state: TrainingState) -> tuple[list[Sample], Evaluation]:
    """Prepare and measure what the coming step looks at: follow what the last one looked at, draw the rest."""
    indices = experiment.sampler.indices(state.step)
    ensemble = Ensemble(experiment.world, experiment.terms, design, experiment.seed, chunk_size=experiment.chunk_size)
    samples = ensemble.samples(
        team,
        state.values,
        indices,
        step=state.step,
        previous=state.prepared,
        keep=set(experiment.sampler.indices(state.step + 1)),
    )
    evaluation = evaluate(
        design,
        state.values,
        experiment.world,
        experiment.terms,
        experiment.sampler,
        samples,
        team,
        None if experiment.clip is None else {name: experiment.clip * float(x) for name, x in state.lengths.items()},
    )
    return samples, evaluation


def move(
    experiment: Experiment, design: Design, state: TrainingState, samples: list[Sample], evaluation: Evaluation
) -> TrainingState:
    """The state after the design has moved; a step without a loss changes nothing."""
    values, optimizer = state.values, state.optimizer
    if evaluation.loss is not None:
        loss = np.asarray(evaluation.loss)
        values, optimizer = _move(
            experiment.optimizer, design, experiment.world, evaluation.gradient, loss, state.optimizer, state.values
        )
    following = set(experiment.sampler.indices(state.step + 1))
    kept = {one.index: one.prepared for one in samples if one.index in following and one.prepared is not None}
    return TrainingState(state.step + 1, values, optimizer, kept, _typical(state.lengths, evaluation.lengths))


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
def _move(optimizer, design: Design, world, gradient, loss, state, values):
    """The design and the optimiser's state after one update; optimisers that want the loss are given it."""
    updates, state = optax.with_extra_args_support(optimizer).update(gradient, state, values, value=loss)
    return design.step(world, values, updates), state


def _metrics(experiment, state, evaluation: Evaluation, samples: list[Sample], optimizer) -> dict[str, Any]:
    terms: dict[str, Any] = {}
    for name, value in evaluation.values.items():
        terms[name] = {"value": value.tolist(), "loss": evaluation.losses[name]}
        if len(samples) > 1:
            error = evaluation.standard_errors[name]
            terms[name]["standard_error"] = None if error is None else error.tolist()
            terms[name]["loss_floor"] = evaluation.floors[name]
    rejected = count_rejected(samples)
    statistics: dict[str, Any] = {}
    for one in samples:
        for name, number in one.statistics.items():
            statistics[name] = statistics.get(name, 0) + number
    return {
        "step": state.step,
        "loss": evaluation.loss,
        "terms": terms,
        "design": {name: np.asarray(value).tolist() for name, value in state.values.items()},
        "learning_rate": learning_rate(optimizer),
        "requested": len(samples),
        "converged": len(samples) - sum(rejected.values()),
        "rejected": rejected,
        "rearranged": statistics.pop("rearranged", 0),
        "search": statistics,
    }


def count_rejected(samples: Sequence[Sample]) -> dict[str, int]:
    """How many configurations ended in each outcome that is not `converged`."""
    rejected = [one.outcome for one in samples if one.outcome != Outcome.converged]
    return {outcome.name: rejected.count(outcome) for outcome in sorted(set(rejected))}


def _check_rejections(experiment: Experiment, lines: list[dict[str, Any]]) -> None:
    """Raise `RunError` if too many of the last configurations were rejected to go on."""
    recent = lines[-REJECTION_WINDOW:]
    if len(recent) < REJECTION_WINDOW:
        return
    requested = sum(line["requested"] for line in recent)
    rejected: dict[str, int] = {}
    for line in recent:
        for name, count in line["rejected"].items():
            rejected[name] = rejected.get(name, 0) + count
    total, limit = sum(rejected.values()), experiment.rejection_limit
    reasons = ", ".join(f"{count} {name}" for name, count in rejected.items())
    if all(line["loss"] is None for line in recent):
        raise RunError(f"nothing could be measured in {len(recent)} steps in a row: {reasons}")
    if total > limit * requested:
        raise RunError(
            f"{total} of the last {requested} configurations were rejected ({reasons}), more than the share of "
            f"{limit:g} that train.rejection_limit allows"
        )


def learning_rate(optimizer: optax.OptState) -> float | None:
    """The rate of an optimiser's last update: the outermost thing called `learning_rate` in its state, if any."""
    found = [
        (len(path), rate)
        for path, rate in optax.tree.get_all_with_path(optimizer, "learning_rate")
        if eqx.is_array(rate) and rate.ndim == 0
    ]
    return float(min(found, key=lambda item: item[0])[1]) if found else None


def _reached(experiment: Experiment, line: dict[str, Any]) -> bool:
    """Whether the loss is below the tolerance: known only where the packings looked at are all there are."""
    return experiment.sampler.is_population and line["loss"] is not None and line["loss"] < experiment.tolerance


def _result(experiment: Experiment, design: Design, state, lines, seconds: float) -> dict[str, Any]:
    rejected: dict[str, int] = {}
    for line in lines:
        for name, count in line["rejected"].items():
            rejected[name] = rejected.get(name, 0) + count
    measured = [line for line in lines if line["loss"] is not None]
    final = measured[-1] if measured else lines[-1]
    potential = design.insert(experiment.world, state.values)["potential"]
    return {
        "success": _reached(experiment, lines[-1]) if experiment.sampler.is_population else None,
        "loss": final["loss"],
        "steps": len(lines),
        "values": {name: term["value"] for name, term in final["terms"].items()},
        "design": {**potential_parameters(potential), **lines[-1]["design"]},
        "seed": experiment.seed,
        "requested": sum(line["requested"] for line in lines),
        "converged": sum(line["converged"] for line in lines),
        "rejected": rejected,
        "rearranged": sum(line["rearranged"] for line in lines),
        "seconds": seconds,
    }


def potential_parameters(potential: Any) -> dict[str, Any]:
    """Every number of a potential by name: what is needed to build it again."""
    fields = {name: getattr(potential, name) for name in type(potential).__dataclass_fields__}
    return {
        name: np.asarray(value).tolist() if eqx.is_array(value) else value
        for name, value in fields.items()
        if eqx.is_array(value) or isinstance(value, bool | int | float | str)
    }


def _write_start(output: RunDirectory, experiment: Experiment) -> None:
    from .run.provenance import provenance

    output.write_json("provenance.json", provenance())
    if experiment.config is not None:
        output.write_text("config.yaml", experiment.config)


def _write_checkpoint(experiment: Experiment, team: Team, output: RunDirectory | None, state: TrainingState) -> None:
    """The state before the coming step, with what every process follows."""
    followed = team.all(
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
            "prepared": followed,
        }
        output.write_checkpoint(state.step, Checkpoint(state.step, content))


def restore(experiment: Experiment, design: Design, checkpoint: Checkpoint) -> TrainingState:
    """The training state that a checkpoint holds; `ValueError` if it is of another experiment."""
    start = initial_state(experiment, design)
    content = checkpoint.content
    values = unpack(content["values"], start.values)
    world = design.insert(experiment.world, values)
    shape = world["system"].start(jax.random.key(0))
    prepared = {}
    for index, one in content["prepared"].items():
        configuration = unpack(one["configuration"], shape)
        memory = None
        if one["memory"] is not None:
            # What is remembered now has the structure of what was remembered then.
            like = world["protocol"].remember(world["potential"], configuration)
            if like is None:
                name = type(world["protocol"]).__name__
                raise ValueError(f"the protocol {name} keeps a memory and has no `remember` to make it anew")
            memory = unpack(one["memory"], like)
        prepared[int(index)] = Prepared(configuration, one["outcome"], one["statistics"], memory)
    return TrainingState(
        checkpoint.step,
        values,
        unpack(content["optimizer"], start.optimizer),
        prepared,
        unpack(content["lengths"], start.lengths),
    )


def _write_end(output: RunDirectory, experiment: Experiment, design: Design, state, samples, lines, result) -> None:
    from .run.plot import target_of, training_figure

    accepted = [one.prepared for one in samples if one.measured is not None and one.prepared is not None]
    shown = accepted[0] if accepted and experiment.sampler.is_population else None
    potential = design.insert(experiment.world, state.values)["potential"]
    diameters = getattr(potential, "diameter", None)
    targets = {name: target_of(term) for name, term in experiment.terms.items()}
    if shown is not None:
        frames = [write_configuration(one.configuration) for one in accepted]
        output.write_text("final.extxyz", "".join(frames))
    output.write_bytes(
        "training.png",
        training_figure(
            lines,
            targets,
            experiment.tolerance if experiment.sampler.is_population else 0.0,
            None if shown is None else shown.configuration,
            None if diameters is None else np.asarray(diameters),
        ),
    )
    # Last: a directory with a result is complete.
    output.write_json("result.json", result)
