"""What a property returns, known before anything is prepared: the property is traced on an abstract state."""

import dataclasses
import logging
from collections.abc import Hashable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr
from jaxtyping import Array, PyTree

from .._errors import RequestError
from .._types import Untyped
from ..components.property import AbstractProperty
from ..components.system import AbstractSystem
from ..physics.hessian import AbstractHessian, DenseHessian
from ..physics.pair_list import PairList
from ..physics.potential import AbstractPotential
from ..physics.state import Equilibrium, State
from .diagnosis import describe_failure
from .property_value import UnusableValue, real_value

logger = logging.getLogger(__name__)
# Pairs for each particle in the abstract pair list: only their number has to be plausible.
PAIRS = 8
# Coordinates up to which the abstract Hessian is dense. Above, not even its shape is made.
MOST_DENSE = 2000


# Operations that may have no derivative: only properties that contain them are traced again with theirs, which takes
# ten times as long as the trace itself.
UNDIFFERENTIABLE = frozenset({"pure_callback", "io_callback", "while"})


class UnusableProperty(RequestError):
    """A property returns no real numbers, or has no derivative where it is to be trained."""


_known: dict[Hashable, tuple[int, ...]] = {}


def value_shape(
    key: str,
    measured: AbstractProperty,
    potential: AbstractPotential,
    system: AbstractSystem,
    provided: type[State],
    *,
    trained: bool = False,
) -> tuple[int, ...] | None:
    """Shape of the values; None where the protocol gives a state of its own, which only it can make.

    A property that cannot be measured on such a system says so here, as a `RequestError` that begins with `key`, and
    so does one that returns no real numbers or, where it is to be `trained`, has no derivative.
    """
    if not issubclass(Equilibrium, provided):
        return None
    leaves, structure = jax.tree.flatten(measured)
    size = (system.n_particles, system.n_species, system.dimension)
    # A trace is paid for once in a process, not for every job of a sweep.
    name = (structure, tuple(leaves), type(potential), size, trained) if not any(map(_is_array, leaves)) else None
    if name is not None and name in _known:
        return _known[name]

    state = _abstract(potential, system)
    try:
        jaxpr, value = jax.make_jaxpr(lambda state: real_value(measured, state, trained=trained), return_shape=True)(
            state
        )
    except RequestError:
        raise
    except UnusableValue as error:
        raise UnusableProperty(f"{key}: {error}") from error
    except Exception as error:  # a property may fail in any way
        # A property says what it cannot be measured on with a `ValueError`; anything else is its own mistake.
        refused = isinstance(error, ValueError) and str(error)
        text = str(error).splitlines()[0] if refused else describe_failure(error, measured)
        raise RequestError(f"{key}: {text}") from error
    if trained and _holds(jaxpr.jaxpr, UNDIFFERENTIABLE):
        _check_derivative(key, measured, state)
    shape: tuple[int, ...] = value.shape
    if name is not None:
        _known[name] = shape
    return shape


def only_usable(
    properties: Mapping[str, AbstractProperty],
    potential: AbstractPotential,
    system: AbstractSystem,
    provided: type[State],
    *,
    trained: bool = False,
) -> dict[str, AbstractProperty]:
    """The properties without those that cannot be measured on such a system, each of which is noted: nobody named them.

    With `trained`, also without those that have no derivative.
    """
    result = {}
    for name, measured in properties.items():
        try:
            value_shape(f"property {name}", measured, potential, system, provided, trained=trained)
        except RequestError as error:
            logger.info("note: left out %s", error)
        else:
            result[name] = measured
    return result


def _holds(jaxpr: Jaxpr, names: frozenset[str]) -> bool:
    """Whether a jaxpr, or one within it, contains an operation of these names."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in names:
            return True
        for parameter in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
            inner: Untyped = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns") and _holds(inner, names):
                return True
    return False


def _check_derivative(key: str, measured: AbstractProperty, state: Equilibrium) -> None:
    """Refuse a property that JAX cannot differentiate in the potential and the positions."""

    def slopes(state: Equilibrium) -> PyTree:
        arrays, others = eqx.partition((state.potential, state.configuration), eqx.is_inexact_array)

        def value(arrays: PyTree) -> Array:
            potential, configuration = eqx.combine(arrays, others)
            return real_value(measured, dataclasses.replace(state, potential=potential, configuration=configuration))

        _, pull = jax.vjp(value, arrays)
        return pull(jnp.ones(jax.eval_shape(value, arrays).shape))

    try:
        jax.eval_shape(slopes, state)
    except Exception as error:
        raise UnusableProperty(
            f"{key}: cannot be trained, it has no derivative: {describe_failure(error, measured)}"
        ) from error


def _abstract(potential: AbstractPotential, system: AbstractSystem) -> Equilibrium:
    """An equilibrium without numbers: arrays are shapes and types."""
    configuration = jax.eval_shape(system.start, jax.random.key(0))
    n, d = configuration.fractional.shape

    def example() -> tuple[PairList, AbstractHessian]:
        index, number = jnp.zeros(PAIRS * n, dtype=configuration.species.dtype), jnp.zeros(())
        neighbors = PairList(index, index, system.start(jax.random.key(0)), number, jnp.zeros((), dtype=index.dtype))
        rattler, stable = jnp.zeros(n, dtype=bool), jnp.asarray(True)
        if n * d <= MOST_DENSE:
            return neighbors, DenseHessian(jnp.zeros((n * d, n * d)), rattler, stable)
        # It imports SciPy, which small systems do not need.
        from ..physics.sparse_hessian import SparseHessian

        vector, blocks = jnp.zeros((n, d)), jnp.zeros((PAIRS * n, d, d))
        name, free = jnp.zeros((), dtype=jnp.uint64), jnp.zeros((0, n, d))
        return neighbors, SparseHessian(name, index, index, blocks, vector, vector, free, rattler, stable)

    neighbors, hessian = jax.eval_shape(example)
    return Equilibrium(potential=potential, configuration=configuration, neighbors=neighbors, hessian=hessian)


def _is_array(leaf: object) -> bool:
    return hasattr(leaf, "shape")
