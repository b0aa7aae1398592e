"""A training's experiment at the design that a run has reached: what validations and analyses begin with."""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._errors import RequestError, suggestion
from .._types import Setting
from ..components.objective import NoObjective
from ..config.data import to_yaml
from ..evaluation.problem import Model, Problem
from ..jobs.experiment import Experiment, check_cutoff
from .train import build_experiment


@dataclasses.dataclass(frozen=True)
class Trained:
    """An experiment, and its model with the trained values.

    **Attributes:**

    - `experiment`: as for a training; terms of which nothing is wanted have the objective `NoObjective`.
    - `model`: the model at the trained values.
    - `config`: the resolved configuration, as it is kept with the results.
    """

    experiment: Experiment
    model: Model
    config: str

    @property
    def problem(self) -> Problem:
        """The problem of the experiment, with the trained model."""
        return Problem(self.model, self.experiment.problem.design, self.experiment.terms)


def build_trained(data: dict[str, Setting], own: Mapping[str, Setting], *, all_may_vary: bool = False) -> Trained:
    """The experiment that a configuration without the command's own keys describes, at the trained values.

    **Arguments:**

    - `data`: the keys of a training. Terms may be without objective.
    - `own`: the command's own keys; `trained` has the trained values by design variable.
    - `all_may_vary`: whether every array of the potential is a design variable where none is named.
    """
    experiment = build_experiment(data, open_objective=NoObjective(), all_may_vary=all_may_vary)
    problem = experiment.problem
    model = problem.at(_trained_values(problem.initial_values, own.get("trained") or {}))
    check_cutoff(model.potential, model.system.largest_particles, f"system.n_particles={model.system.n_particles}")
    return Trained(experiment, model, to_yaml(data | dict(own)))


def _trained_values(initial: Mapping[str, Array], trained: Mapping[str, Setting]) -> dict[str, Array]:
    """The initial values with the trained ones in their place."""
    values = dict(initial)
    for name, value in trained.items():
        if name not in values:
            raise RequestError(f"trained.{name}: no design variable of the run; {suggestion(name, values)}")
        if np.shape(value) != values[name].shape:
            raise RequestError(
                f"trained.{name}: the run has {np.shape(value)} numbers, this system needs {values[name].shape}; a "
                "design needs as many species as it was trained with"
            )
        values[name] = jnp.asarray(value, dtype=float)
    return values
