"""The best step of a training that follows its packings: what a run that ends worse than it was has found."""

from collections.abc import Mapping, Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from .._types import JSON, Plain
from ..config.carried import potential_as_text
from ..evaluation.loss import Evaluation
from ..evaluation.measurement import Sample, accepted_packings
from ..execution.executor import Executor
from ..physics.configuration import Configuration
from ..run.checkpoint import pack, unpack
from .experiment import Experiment
from .packing_text import packing_text


class Best(eqx.Module):
    """The step with the lowest loss so far, the first of several.

    **Attributes:**

    - `step`, `loss`: which step, and its loss.
    - `values`: the design variables of that step.
    - `packings`: those that this process has prepared, by index; as texts where they come from a checkpoint.
    """

    step: int
    loss: float
    values: dict[str, Array]
    packings: dict[int, Configuration | str]


def better(
    experiment: Experiment,
    best: Best | None,
    step: int,
    values: Mapping[str, Array],
    samples: Sequence[Sample],
    evaluation: Evaluation,
) -> Best | None:
    """The best step after another one; None where a step sees but a sample, whose loss is a matter of chance."""
    loss = evaluation.loss
    if loss is None or not experiment.sampler.is_population or (best is not None and not loss < best.loss):
        return best
    return Best(step, loss, dict(values), dict(accepted_packings(samples)))


def best_frames(experiment: Experiment, executor: Executor, best: Best | None) -> list[str]:
    """The packings of the best step as extxyz, in the order of their indices: all processes have to call it."""
    if best is None:
        return []
    return [text for _, text in sorted(executor.gather(_texts(experiment, best)).items())]


def with_texts(best: Best | None, packed: Mapping[str, Plain] | None) -> Best | None:
    """The best step with its packings as the texts that a checkpoint has got: the next one takes them as they are."""
    if best is None or packed is None:
        return best
    return Best(best.step, best.loss, best.values, dict(packed["packings"]))


def pack_best(experiment: Experiment, executor: Executor, best: Best | None) -> dict[str, Plain] | None:
    """What a checkpoint keeps of the best step: all processes have to call it."""
    if best is None:
        return None
    packings = executor.gather(_texts(experiment, best))
    return {"step": best.step, "loss": best.loss, "values": pack(best.values), "packings": packings}


def unpack_best(packed: dict[str, Plain] | None, like: Mapping[str, Array]) -> Best | None:
    """The best step of a checkpoint, with the structure of the design variables `like`."""
    if packed is None:
        return None
    packings: dict[int, Configuration | str] = {int(index): text for index, text in packed["packings"].items()}
    return Best(packed["step"], packed["loss"], unpack(packed["values"], dict(like)), packings)


def best_of_lines(experiment: Experiment, lines: Sequence[Mapping[str, JSON]]) -> Best | None:
    """The best of steps of which only the metrics are left, without its packings: for checkpoints of before."""
    measured = [line for line in lines if line["loss"] is not None]
    if not measured or not experiment.sampler.is_population:
        return None
    line = min(measured, key=lambda line: float(line["loss"]))
    initial = experiment.problem.initial_values
    values = {name: jnp.asarray(line["design"][name], dtype=float) for name in initial}
    return Best(line["step"], line["loss"], values, {})


def _texts(experiment: Experiment, best: Best) -> dict[int, str]:
    potential = experiment.problem.at(best.values).potential
    described = potential_as_text(potential, experiment.config)
    return {
        index: packing if isinstance(packing, str) else packing_text(potential, packing, described)
        for index, packing in best.packings.items()
    }
