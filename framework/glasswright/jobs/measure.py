import dataclasses
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._errors import RequestError, RunError
from ..components.property import AbstractProperty
from ..components.protocol import AbstractProtocol, Outcome
from ..evaluation.design import resolve_design, trainable_leaves
from ..evaluation.diagnosis import describe
from ..evaluation.problem import GivenPacking, Model
from ..physics.configuration import Configuration
from ..physics.pair_list import build_pair_list
from ..physics.potential import AbstractPotential
from ..physics.state import Equilibrium
from .experiment import check_cutoff, check_disorder, check_provided

# A packing counts as a minimum up to this force: coordinates written with 12 digits reach it, values are then good to
# about the same relative accuracy.
FORCE_LIMIT = 1e-9


@dataclasses.dataclass(frozen=True)
class MeasureRequest:
    """An existing packing, its interactions, and what is to be measured.

    **Arguments:**

    - `relax`: prepare the packing first (a quench from where it stands); otherwise one not at a minimum is refused.
    - `gradient`: also give the gradient of every scalar property in the potential's parameters.
    """

    configuration: Configuration
    potential: AbstractPotential
    protocol: AbstractProtocol
    properties: dict[str, AbstractProperty]
    relax: bool = False
    gradient: bool = False


def max_force(potential: AbstractPotential, configuration: Configuration) -> float:
    """Largest force component on any particle, in energy per length."""
    neighbors = build_pair_list(configuration, potential.reach(configuration))
    return float(jnp.max(jnp.abs(potential.gradient(configuration, neighbors))))


def check_measurable(request: MeasureRequest) -> None:
    """Refuse what cannot be measured, before anything is written."""
    n = request.configuration.n_particles
    check_disorder(request.potential, request.configuration, "configuration")
    start = request.potential.start
    if start is not None and start.n_particles != n:
        raise RequestError(
            f"configuration with {n} particles: {type(request.potential).__name__} was made from a packing of "
            f"{start.n_particles}"
        )
    check_cutoff(request.potential, request.configuration, f"configuration with {n} particles")
    if not request.properties:
        raise RequestError("property=[]: no registered property fits this protocol")
    for name, wanted in request.properties.items():
        check_provided(name, wanted, type(request.protocol).provides)
    if issubclass(type(request.protocol).provides, Equilibrium) and not request.relax:
        force = max_force(request.potential, request.configuration)
        if not force <= FORCE_LIMIT:
            raise RequestError(
                f"configuration: not at a minimum of this potential: max|F| = {force:.3e}, at most {FORCE_LIMIT:g} is "
                "accepted; give the parameters it was made with, or relax=true to relax it first"
            )


def measure(request: MeasureRequest, directory: str | Path | None = None) -> dict[str, Any]:
    """Measure a packing; returns what `measure.json` holds."""
    check_measurable(request)
    prepared = request.protocol.prepare(request.potential, request.configuration, key=jax.random.key(0))
    outcome = Outcome(int(prepared.outcome))
    if outcome != Outcome.converged:
        raise RunError(f"the packing could not be prepared: {outcome.name}")
    packing = GivenPacking(prepared.configuration.box, prepared.configuration)
    model = Model(request.potential, packing, request.protocol)
    every = dict.fromkeys(trainable_leaves({"potential": request.potential}), (-jnp.inf, jnp.inf))
    design = resolve_design(model, every) if every else None

    @eqx.filter_jit
    def values(prepared):
        state = request.protocol.attach(request.potential, prepared)
        return {name: jnp.asarray(p.measure(state)) for name, p in request.properties.items()}

    @eqx.filter_jit
    def gradient(name, prepared):
        def value(parameters):
            potential = design.insert(model, parameters).potential
            return request.properties[name].measure(request.protocol.attach(potential, prepared))

        return jax.grad(value)(design.values(model))

    report: dict[str, Any] = {
        "max_force": max_force(request.potential, prepared.configuration),
        "properties": {},
    }
    try:
        measured = values(prepared)
    except Exception as error:
        for name, wanted in request.properties.items():
            try:
                jax.eval_shape(
                    lambda one, p=wanted: p.measure(request.protocol.attach(request.potential, one)), prepared
                )
            except Exception as found:
                raise RunError(f"terms.{name}.property: {describe(found, wanted)} on the configuration") from error
        raise
    for name, value in measured.items():
        entry: dict[str, Any] = {"value": np.asarray(value).tolist()}
        if request.gradient and value.ndim == 0 and design is not None:
            entry["gradient"] = {key: np.asarray(g).tolist() for key, g in gradient(name, prepared).items()}
        report["properties"][name] = entry
    if directory is not None:
        from ..run.directory import write_json

        Path(directory).mkdir(parents=True, exist_ok=True)
        write_json(Path(directory) / "measure.json", report)
    return report
