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
from ._errors import RunError
from ._experiment import Experiment, check_experiment
from ._gradient import Evaluation, evaluate
from ._protocol import Outcome, Prepared
from .run.directory import RunDirectory
from .run.extxyz import write_configuration
from .run.progress import TrainingProgress

# A design that prepares nothing gives no gradient to leave it by: this many empty steps in a row end the run.
MAX_EMPTY_STEPS = 20


class TrainingState(eqx.Module):
    """All that the next step depends on.

    **Attributes:**

    - `step`: number of the next step.
    - `values`: the design variables by name.
    - `optimizer`: the optimiser's state.
    - `prepared`: the configurations of the last step, by index.
    """

    step: int
    values: dict[str, Array]
    optimizer: optax.OptState
    prepared: dict[int, Prepared]


def train(experiment: Experiment, directory: str | Path | None = None, *, progress: bool = True) -> dict[str, Any]:
    """Run a training to its tolerance or its last step; returns what `result.json` holds.

    **Arguments:**

    - `experiment`: what is to be trained.
    - `directory`: where the run directory's files go; None writes nothing.
    - `progress`: whether to show a bar (on a terminal) or lines (elsewhere) on standard error.
    """
    begin = perf_counter()
    design = check_experiment(experiment)
    output = None if directory is None else RunDirectory(directory)
    try:
        if output is not None:
            _write_start(output, experiment)
        lines: list[dict[str, Any]] = []
        with TrainingProgress(experiment.steps) if progress else _Silent() as bar:
            values = _strong(design.values(experiment.world))
            state = TrainingState(0, values, _strong(experiment.optimizer.init(values)), {})
            empty = 0
            while True:
                clock = perf_counter()
                state = _follow(experiment, design, state)
                if output is not None and state.step % experiment.checkpoint_interval == 0:
                    output.write_checkpoint(state.step, state)
                next_state, line = _step(experiment, design, state)
                last = _reached(experiment, line) or line["step"] + 1 >= experiment.steps
                line["seconds"] = perf_counter() - clock
                lines.append(line)
                if output is not None:
                    output.append_metrics(line)
                bar.update(line, last=last)
                empty = empty + 1 if line["loss"] is None else 0
                if empty >= MAX_EMPTY_STEPS:
                    raise RunError(f"nothing could be prepared in {empty} steps in a row: {line['rejected']}")
                if last:
                    break
                state = next_state
        result = _result(experiment, design, state, lines, perf_counter() - begin)
        if output is not None:
            _write_end(output, experiment, design, state, lines, result)
        return result
    finally:
        if output is not None:
            output.close()


def _strong(tree: Any) -> Any:
    """Arrays without JAX's weak types, which the first update would lose: everything would be compiled twice."""
    return jax.tree.map(lambda x: jnp.asarray(x, dtype=x.dtype) if eqx.is_array(x) else x, tree)


def _follow(experiment: Experiment, design: Design, state: TrainingState) -> TrainingState:
    """Prepare what the coming step looks at: follow what the last one looked at, draw the rest."""
    world = design.insert(experiment.world, state.values)
    potential, system, protocol = world["potential"], world["system"], world["protocol"]
    prepared = {}
    for index in experiment.sampler.indices(state.step):
        start_key, search_key = _keys(experiment.seed, index, state.step)
        if index in state.prepared:
            prepared[index] = protocol.follow(potential, state.prepared[index], key=search_key)
        else:
            prepared[index] = protocol.prepare(potential, system.start(start_key), key=search_key)
    return eqx.tree_at(lambda s: s.prepared, state, prepared)


@jax.jit
def _keys(seed, index, step):
    """Keys of a configuration's start, which is the same in every step, and of its search, which is not."""
    start, search = jax.random.split(jax.random.fold_in(jax.random.key(seed), index))
    return start, jax.random.fold_in(search, step)


def _step(experiment: Experiment, design: Design, state: TrainingState) -> tuple[TrainingState, dict[str, Any]]:
    """Evaluate the design and move it: the state after the move, and the metrics line of the design before it."""
    batch = list(state.prepared.values())
    evaluation = evaluate(design, state.values, experiment.world, experiment.terms, experiment.sampler, batch)
    values, optimizer = state.values, state.optimizer
    if evaluation.loss is not None:
        loss = np.asarray(evaluation.loss)
        values, optimizer = _move(
            experiment.optimizer, design, experiment.world, evaluation.gradient, loss, state.optimizer, state.values
        )
    line = _metrics(experiment, state, evaluation, batch, optimizer)
    return TrainingState(state.step + 1, values, optimizer, state.prepared), line


@eqx.filter_jit
def _move(optimizer, design: Design, world, gradient, loss, state, values):
    """The design and the optimiser's state after one update; optimisers that want the loss are given it."""
    updates, state = optax.with_extra_args_support(optimizer).update(gradient, state, values, value=loss)
    return design.step(world, values, updates), state


def _metrics(experiment, state, evaluation: Evaluation, batch, optimizer) -> dict[str, Any]:
    rejected = [outcome for outcome in evaluation.outcomes if outcome != Outcome.converged]
    counts = {outcome.name: rejected.count(outcome) for outcome in sorted(set(rejected))}
    terms = {
        name: {"value": value.tolist(), "loss": evaluation.losses[name]} for name, value in evaluation.values.items()
    }
    statistics: dict[str, int] = {}
    for prepared in batch:
        for name, number in prepared.statistics.items():
            statistics[name] = statistics.get(name, 0) + np.asarray(number).item()
    return {
        "step": state.step,
        "loss": evaluation.loss,
        "terms": terms,
        "design": {name: np.asarray(value).tolist() for name, value in state.values.items()},
        "learning_rate": learning_rate(optimizer),
        "requested": len(batch),
        "converged": len(batch) - len(rejected),
        "rejected": counts,
        "rearranged": statistics.pop("rearranged", 0),
        "search": statistics,
    }


def learning_rate(optimizer: optax.OptState) -> float | None:
    """The rate of an optimiser's last update: the outermost thing called `learning_rate` in its state, if any."""
    found = optax.tree.get_all_with_path(optimizer, "learning_rate")
    if not found:
        return None
    return float(min(found, key=lambda item: len(item[0]))[1])


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


def _write_end(output: RunDirectory, experiment: Experiment, design: Design, state, lines, result) -> None:
    from .run.plot import training_figure

    shown = next((p for p in state.prepared.values() if p.accepted), None) if experiment.sampler.is_population else None
    potential = design.insert(experiment.world, state.values)["potential"]
    diameters = getattr(potential, "diameter", None)
    targets = {name: _target(term) for name, term in experiment.terms.items()}
    if shown is not None:
        frames = [write_configuration(p.configuration) for p in state.prepared.values() if p.accepted]
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


def _target(term) -> float | None:
    target = getattr(term.objective, "target", None)
    return float(target) if target is not None and np.ndim(target) == 0 else None


class _Silent:
    def __enter__(self) -> "_Silent":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, line: dict[str, Any], last: bool = False) -> None:
        pass
