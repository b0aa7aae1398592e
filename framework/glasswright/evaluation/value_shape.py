"""The shape of a property's values, known before anything is prepared: the property is traced on an abstract state."""

from typing import Any

import jax
import jax.numpy as jnp

from .._errors import RequestError
from ..components.property import AbstractProperty
from ..physics.hessian import DenseHessian
from ..physics.pair_list import PairList
from ..physics.potential import AbstractPotential
from ..physics.state import Equilibrium, State
from ..physics.system import System
from .diagnosis import describe_failure

# Pairs for each particle in the abstract pair list: only their number has to be plausible.
PAIRS = 8
_known: dict[Any, tuple[int, ...]] = {}


def value_shape(
    key: str, measured: AbstractProperty, potential: AbstractPotential, system: System, provided: type[State]
) -> tuple[int, ...] | None:
    """Shape of the values; None where the protocol gives a state of its own, which only it can make.

    A property that cannot be measured on such a system says so here, as a `RequestError` that begins with `key`.
    """
    if not issubclass(Equilibrium, provided):
        return None
    leaves, structure = jax.tree.flatten(measured)
    size = (system.n_particles, system.n_species, system.dimension)
    # A trace is paid for once in a process, not for every job of a sweep.
    name = (structure, tuple(leaves), type(potential), size) if not any(map(_is_array, leaves)) else None
    if name is not None and name in _known:
        return _known[name]
    try:
        shape: tuple[int, ...] = jax.eval_shape(
            lambda state: jnp.asarray(measured.measure(state), dtype=float), _abstract(potential, system)
        ).shape
    except RequestError:
        raise
    except Exception as error:  # a property may fail in any way
        # A property says what it cannot be measured on with a `ValueError`; anything else is its own mistake.
        refused = isinstance(error, ValueError) and str(error)
        text = str(error).splitlines()[0] if refused else describe_failure(error, measured)
        raise RequestError(f"{key}: {text}") from error
    if name is not None:
        _known[name] = shape
    return shape


def _abstract(potential: AbstractPotential, system: System) -> Equilibrium:
    """An equilibrium without numbers: arrays are shapes and types."""
    configuration = jax.eval_shape(system.start, jax.random.key(0))
    n, d = configuration.fractional.shape

    def example() -> tuple[PairList, DenseHessian]:
        index, number = jnp.zeros(PAIRS * n, dtype=configuration.species.dtype), jnp.zeros(())
        neighbors = PairList(index, index, system.start(jax.random.key(0)), number, jnp.zeros((), dtype=index.dtype))
        return neighbors, DenseHessian(jnp.zeros((n * d, n * d)), jnp.zeros(n, dtype=bool), jnp.asarray(True))

    neighbors, hessian = jax.eval_shape(example)
    return Equilibrium(potential=potential, configuration=configuration, neighbors=neighbors, hessian=hessian)


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "shape")
