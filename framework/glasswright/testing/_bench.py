"""Functions of a state measured together on one packing: what is expensive is compiled once for all of them."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..components.protocol import AbstractProtocol, Prepared
from ..physics.state import State
from ._failures import ConformanceError, fail, raised
from ._packings import Packing, Parameters, default_packing

Output = TypeVar("Output")
# What somebody wrote may return anything; the checks find out.
Measure: TypeAlias = Callable[[State], object]
Arrays: TypeAlias = dict[str, np.ndarray]
# Steps of the central differences: the first that meets no kink of the potential decides.
STEPS = (4e-6, 1e-6, 2.5e-7)
# Largest error of a derivative, in norms of the gradient.
TOLERANCE = 1e-6
LOW_PRECISION = tuple(map(jnp.dtype, ("float16", "bfloat16", "float32", "complex64")))


@dataclasses.dataclass(frozen=True)
class Slope:
    """A derivative along a random direction of all parameters, by three ways.

    **Attributes:**

    - `forward`, `reverse`: by the two modes of differentiation.
    - `norm`: of the gradient.
    - `difference`: central difference of the packing prepared again, at `step`.
    """

    forward: float
    reverse: float
    norm: float
    difference: float
    step: float

    @property
    def error(self) -> float:
        return abs(self.forward - self.difference) / self.norm if self.norm > 0 else float("inf")


class Bench:
    """Several functions of a state on one packing; the others are still measured if one of them raises.

    With `compiled` nothing is measured outside of `jax.jit`, where every operation would be compiled by itself.
    """

    def __init__(self, measures: Mapping[str, Measure], packing: Packing, *, compiled: bool = False):
        self.measures, self.packing, self.compiled = dict(measures), packing, compiled

    @functools.cached_property
    def eager(self) -> Mapping[str, object]:
        """By name, the value outside of any transformation as it was returned, or the exception."""
        if self.compiled:
            names = [name for name, program in self.traced.items() if not isinstance(program, Exception)]
            return self.traced | {name: self.values[name] for name in names}
        state = self.packing.state()
        return {name: _attempt(functools.partial(measure, state)) for name, measure in self.measures.items()}

    @functools.cached_property
    def traced(self) -> dict[str, jex.ClosedJaxpr | Exception]:
        """By name, a differentiable program (a closed jaxpr), or the exception that tracing raised.

        Unless a function raises, all names share the program of all functions: tracing is what takes longest here.
        """
        together = _attempt(lambda: self._trace(list(self.measures)))
        if not isinstance(together, Exception):
            return dict.fromkeys(self.measures, together)
        return {name: _attempt(functools.partial(self._trace, [name])) for name in self.measures}

    def _trace(self, names: list[str]) -> jex.ClosedJaxpr:
        def values(parameters: Parameters, prepared: Prepared) -> dict[str, Array]:
            state = self.packing.state(parameters, prepared)
            return {name: jnp.asarray(self.measures[name](state), dtype=float) for name in names}

        def slope(parameters: Parameters, prepared: Prepared) -> PyTree:
            shapes, pull = jax.vjp(lambda p: values(p, prepared), parameters)
            return pull(jax.tree.map(jnp.ones_like, shapes))

        arguments = self.packing.parameters, self.prepared
        jax.eval_shape(slope, *arguments)
        program: jex.ClosedJaxpr = jax.make_jaxpr(values)(*arguments)
        return program

    def low_precision(self, name: str) -> list[str]:
        """The types of less than 64 bits on the way to a value."""
        # All were traced together: another function may be the one that uses them.
        program = self.traced[name]
        assert isinstance(program, jex.ClosedJaxpr)
        return _low(self._trace([name])) if _low(program) else []

    @functools.cached_property
    def prepared(self) -> Prepared:
        """The packing without the statistics of its search, which are no part of any state."""
        return dataclasses.replace(self.packing.prepared, statistics={})

    @functools.cached_property
    def names(self) -> list[str]:
        """The functions that can be measured and differentiated; only these take part in further checks."""
        attempts = [self.traced] if self.compiled else [self.eager, self.traced]
        return [n for n in self.measures if not any(isinstance(attempt[n], Exception) for attempt in attempts)]

    def require(self, name: str) -> None:
        """Fail with the reason if this function cannot be measured or differentiated."""
        eager = self.traced[name] if self.compiled else self.eager[name]
        for result, how in ((eager, "measuring"), (self.traced[name], "differentiating (under jax.jit)")):
            if isinstance(result, Exception):
                fail(
                    f"{how} a {self.packing.name} raised {raised(result)}; `measure` must be made of operations that "
                    "JAX can trace and differentiate: no float(), no `if` on values, no NumPy on what depends on the "
                    "state"
                )

    def values_at(self, parameters: Parameters, prepared: Prepared) -> dict[str, Array]:
        """All values, traceable."""
        state = self.packing.state(parameters, prepared)
        return {name: jnp.asarray(self.measures[name](state)) for name in self.names}

    @functools.cached_property
    def jitted(self) -> Callable[[Parameters, Prepared], dict[str, Array]]:
        """`values_at`, compiled."""
        compiled: Callable[[Parameters, Prepared], dict[str, Array]] = eqx.filter_jit(self.values_at)
        return compiled

    @functools.cached_property
    def values(self) -> Arrays:
        """All values of the packing as it was prepared."""
        values: Arrays = jax.device_get(self.jitted(self.packing.parameters, self.prepared))
        return values

    def changed(self, change: str) -> Arrays:
        """All values of the same packing, described in another way."""
        if change not in self._changed:
            prepared = dataclasses.replace(self.packing.changed(change), statistics={})
            self._changed[change] = jax.device_get(self.jitted(self.packing.parameters, prepared))
        return self._changed[change]

    @functools.cached_property
    def _changed(self) -> dict[str, Arrays]:
        return {}

    @functools.cached_property
    def gradients(self) -> tuple[Arrays, dict[str, PyTree], PyTree]:
        """By name the slope along a random direction and the gradient, each contracted to a number; the direction."""
        parameters = self.packing.parameters
        leaves, structure = jax.tree.flatten(parameters)
        keys = jax.random.split(jax.random.key(3), len(leaves))
        normals = [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
        direction = jax.tree.unflatten(structure, normals)

        def derivatives(names: list[str]) -> tuple[Arrays, dict[str, PyTree]]:
            def run(parameters: Parameters, prepared: Prepared) -> tuple[dict[str, Array], dict[str, PyTree]]:
                def contracted(p: Parameters) -> dict[str, Array]:
                    return self._contracted(p, prepared, names)

                return jax.jvp(contracted, (parameters,), (direction,))[1], jax.jacrev(contracted)(parameters)

            results: tuple[Arrays, dict[str, PyTree]] = jax.device_get(eqx.filter_jit(run)(parameters, self.prepared))
            return results

        slopes, gradients = derivatives(self.finite)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients)):
            # In reverse mode what is not a number spreads from one to all others that share its state.
            for name in self.finite:
                slope, gradient = derivatives([name])
                slopes, gradients = slopes | slope, gradients | gradient
        return slopes, gradients, direction

    @functools.cached_property
    def finite(self) -> list[str]:
        """The functions whose value is finite: only these have derivatives."""
        return [name for name in self.names if np.all(np.isfinite(self.values[name]))]

    def _contracted(self, parameters: Parameters, prepared: Prepared, names: list[str]) -> dict[str, Array]:
        state = self.packing.state(parameters, prepared)
        values = {name: jnp.asarray(self.measures[name](state), dtype=float) for name in names}
        return {name: jnp.sum(weights_of(value.shape) * value) for name, value in values.items()}

    @functools.cached_property
    def slopes(self) -> dict[str, Slope]:
        """By name, the derivative by automatic differentiation and by central differences of the prepared system."""
        slopes, gradients, direction = self.gradients
        results: dict[str, Slope] = {}
        for step in STEPS:
            wide, narrow = self._difference(direction, 2 * step), self._difference(direction, step)
            if wide is None or narrow is None:
                continue
            for name in self.finite:
                pairs = zip(jax.tree.leaves(gradients[name]), jax.tree.leaves(direction), strict=True)
                reverse = sum(float(np.vdot(g, d)) for g, d in pairs)
                norm = float(np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(gradients[name]))))
                # Richardson's extrapolation takes out the error of second order.
                difference = (4 * narrow[name] - wide[name]) / 3
                slope = Slope(float(slopes[name]), reverse, norm, difference, step)
                if name not in results or slope.error < results[name].error:
                    results[name] = slope
            # A kink between the ends spoils one step length and not the next; a wrong derivative is wrong at all.
            if all(slope.error < TOLERANCE for slope in results.values()):
                break
        if self.finite and not results:
            fail(f"the {self.packing.name} could not be prepared again after a change of its parameters by {STEPS[-1]}")
        return results

    def _difference(self, direction: PyTree, step: float) -> dict[str, float] | None:
        ends = []
        for sign in (-1.0, 1.0):
            moved = jax.tree.map(lambda p, d, s=sign: p + s * step * d, self.packing.parameters, direction)
            prepared = self.packing.followed(moved)
            if prepared is None:
                return None
            values = self.jitted(moved, dataclasses.replace(prepared, statistics={}))
            ends.append({n: float(jnp.sum(weights_of(v.shape) * v)) for n, v in values.items()})
        return {name: (ends[1][name] - ends[0][name]) / (2 * step) for name in ends[0]}

    @functools.cached_property
    def mapped(self) -> tuple[Arrays, list[Arrays]]:
        """All values under `jax.vmap` over two sets of parameters, and the values of each set by itself."""
        scales = np.array([1.0, 1.001])
        parameters = self.packing.parameters
        batch = jax.tree.map(lambda p: jnp.stack([scale * p for scale in scales]), parameters)

        # The packing is an argument: a factored Hessian among the constants of a program compiles for many seconds.
        @eqx.filter_jit
        def values(batch: Parameters, prepared: Prepared) -> dict[str, Array]:
            mapped: dict[str, Array] = jax.vmap(lambda p: self.values_at(p, prepared))(batch)
            return mapped

        together = values(batch, self.prepared)
        single = [self.jitted(jax.tree.map(lambda x, k=k: x[k], batch), self.prepared) for k in range(len(scales))]
        return jax.device_get(together), jax.device_get(single)


def weights_of(shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Fixed random weights by which an array becomes a number; a number stays what it is."""
    return jax.random.normal(jax.random.key(7), shape) if shape else jnp.ones(())


def _attempt(function: Callable[[], Output]) -> Output | Exception:
    try:
        return function()
    except ConformanceError:
        raise
    except Exception as error:
        return error


def bench_of(
    measures: Mapping[str, Measure], kind: str, protocol: AbstractProtocol | None = None, *, compiled: bool = False
) -> Bench:
    """A bench on one of the shared packings."""
    return Bench(measures, default_packing(kind, protocol), compiled=compiled)


def _low(program: jex.ClosedJaxpr) -> list[str]:
    return sorted({str(dtype) for dtype in _dtypes(program.jaxpr) if dtype in LOW_PRECISION})


def _dtypes(jaxpr: jex.Jaxpr) -> Iterator[object]:
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            if hasattr(variable.aval, "dtype"):
                yield variable.aval.dtype
        for parameter in jax.tree.leaves(equation.params, is_leaf=_is_program):
            if isinstance(parameter, jex.ClosedJaxpr):
                yield from _dtypes(parameter.jaxpr)
            elif isinstance(parameter, jex.Jaxpr):
                yield from _dtypes(parameter)


def _is_program(value: object) -> bool:
    return isinstance(value, (jex.Jaxpr, jex.ClosedJaxpr))
