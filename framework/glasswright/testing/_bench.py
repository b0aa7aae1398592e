"""Functions of a state measured together on one packing: what is expensive is compiled once for all of them."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from .._state import State
from ._failures import ConformanceError, fail, listed, raised
from ._packings import Packing, default_packing, quarter_turn

Measure = Callable[[State], Any]
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
    """Several functions of a state on one packing; one that raises does not keep the others from being measured.

    With `compiled` nothing is measured outside of `jax.jit`, where every operation would be compiled by itself.
    """

    def __init__(self, measures: Mapping[str, Measure], packing: Packing, *, compiled: bool = False):
        self.measures, self.packing, self.compiled = dict(measures), packing, compiled

    @functools.cached_property
    def eager(self) -> dict[str, Any]:
        """Each value outside of any transformation, as it was returned, or the exception."""
        if self.compiled:
            names = [name for name, found in self.traced.items() if not isinstance(found, Exception)]
            return self.traced | {name: self.values[name] for name in names}
        state = self.packing.state()
        return {name: _attempt(lambda m=measure: m(state)) for name, measure in self.measures.items()}

    @functools.cached_property
    def traced(self) -> dict[str, Any]:
        """Each as a program (a closed jaxpr) that has derivatives, or the exception that tracing raised.

        As long as all is well, the program is that of all of them: tracing takes longer than anything else here.
        """
        together = _attempt(lambda: self._trace(list(self.measures)))
        if not isinstance(together, Exception):
            return dict.fromkeys(self.measures, together)
        return {name: _attempt(lambda n=name: self._trace([n])) for name in self.measures}

    def _trace(self, names: list[str]) -> Any:
        def values(parameters, prepared):
            state = self.packing.state(parameters, prepared)
            return {name: jnp.asarray(self.measures[name](state), dtype=float) for name in names}

        def slope(parameters, prepared):
            shapes, pull = jax.vjp(lambda p: values(p, prepared), parameters)
            return pull(jax.tree.map(jnp.ones_like, shapes))

        arguments = self.packing.parameters, self.prepared
        jax.eval_shape(slope, *arguments)
        return jax.make_jaxpr(values)(*arguments)

    def low_precision(self, name: str) -> list[str]:
        """The types of less than 64 bits on the way to a value."""
        found = _low(self.traced[name])
        # All were traced together: it may be the fault of another.
        return _low(self._trace([name])) if found else []

    @functools.cached_property
    def prepared(self) -> Any:
        # The numbers about the search are no part of any state.
        return dataclasses.replace(self.packing.prepared, statistics={})

    @functools.cached_property
    def names(self) -> list[str]:
        """Those that can be measured and differentiated at all; only these take part in what follows."""
        found = [self.traced] if self.compiled else [self.eager, self.traced]
        return [name for name in self.measures if not any(isinstance(some[name], Exception) for some in found)]

    def require(self, name: str) -> None:
        """Fail with the reason if one cannot be measured or differentiated."""
        eager = self.traced[name] if self.compiled else self.eager[name]
        for found, how in ((eager, "measuring"), (self.traced[name], "differentiating (under jax.jit)")):
            if isinstance(found, Exception):
                fail(
                    f"{how} a {self.packing.name} raised {raised(found)}; `measure` must be made of operations "
                    "that JAX "
                    "can trace and differentiate: no float(), no `if` on values, no NumPy on what depends on the state"
                )

    def values_at(self, parameters: Any, prepared: Any) -> dict[str, Any]:
        """All values, traceable."""
        state = self.packing.state(parameters, prepared)
        return {name: jnp.asarray(self.measures[name](state)) for name in self.names}

    @functools.cached_property
    def jitted(self):
        """`values_at`, compiled."""
        return eqx.filter_jit(self.values_at)

    @functools.cached_property
    def values(self) -> dict[str, np.ndarray]:
        """All values of the packing as it was prepared."""
        return jax.device_get(self.jitted(self.packing.parameters, self.prepared))

    def changed(self, change: str) -> dict[str, np.ndarray]:
        """All values of the same packing, described in another way."""
        if change not in self._changed:
            prepared = dataclasses.replace(self.packing.changed(change), statistics={})
            self._changed[change] = jax.device_get(self.jitted(self.packing.parameters, prepared))
        return self._changed[change]

    @functools.cached_property
    def _changed(self) -> dict[str, dict[str, np.ndarray]]:
        return {}

    @functools.cached_property
    def gradients(self) -> tuple[dict[str, Any], dict[str, Any], Any]:
        """By name the slope along a random direction and the gradient, each contracted to a number; the direction."""
        parameters = self.packing.parameters
        leaves, structure = jax.tree.flatten(parameters)
        keys = jax.random.split(jax.random.key(3), len(leaves))
        direction = structure.unflatten([jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)])

        @eqx.filter_jit
        def derivatives(parameters, prepared):
            _, slopes = jax.jvp(lambda p: self._contracted(p, prepared), (parameters,), (direction,))
            return slopes, jax.jacrev(lambda p: self._contracted(p, prepared))(parameters)

        slopes, gradients = jax.device_get(derivatives(parameters, self.prepared))
        return slopes, gradients, direction

    def _contracted(self, parameters, prepared) -> dict[str, Any]:
        values = self.values_at(parameters, prepared)
        return {name: jnp.sum(weights_of(value.shape) * value) for name, value in values.items()}

    @functools.cached_property
    def slopes(self) -> dict[str, Slope]:
        """The derivative of each by automatic differentiation and by central differences of the prepared system."""
        slopes, gradients, direction = self.gradients
        results: dict[str, Slope] = {}
        for step in STEPS:
            wide, narrow = self._difference(direction, 2 * step), self._difference(direction, step)
            if wide is None or narrow is None:
                continue
            for name in self.names:
                pairs = zip(jax.tree.leaves(gradients[name]), jax.tree.leaves(direction), strict=True)
                reverse = sum(float(np.vdot(g, d)) for g, d in pairs)
                norm = float(np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(gradients[name]))))
                # Richardson's extrapolation takes out the error of second order.
                difference = (4 * narrow[name] - wide[name]) / 3
                found = Slope(float(slopes[name]), reverse, norm, difference, step)
                if name not in results or found.error < results[name].error:
                    results[name] = found
            # A kink between the ends spoils one step length and not the next; a wrong derivative is wrong at all.
            if all(one.error < TOLERANCE for one in results.values()):
                break
        if not results:
            fail(f"the {self.packing.name} could not be prepared again after a change of its parameters by {STEPS[-1]}")
        return results

    def _difference(self, direction, step: float) -> dict[str, float] | None:
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
    def mapped(self) -> tuple[dict[str, np.ndarray], list[dict[str, np.ndarray]]]:
        """All values under `jax.vmap` over two sets of parameters, and those of each set by itself."""
        scales = np.array([1.0, 1.001])
        parameters = self.packing.parameters
        batch = jax.tree.map(lambda p: jnp.stack([scale * p for scale in scales]), parameters)
        together = eqx.filter_jit(jax.vmap(lambda p: self.values_at(p, self.prepared)))(batch)
        single = [self.jitted(jax.tree.map(lambda x, k=k: x[k], batch), self.prepared) for k in range(len(scales))]
        return jax.device_get(together), jax.device_get(single)


def weights_of(shape: tuple[int, ...]):
    """Fixed random weights by which an array becomes a number; a number stays what it is."""
    return jax.random.normal(jax.random.key(7), shape) if shape else jnp.ones(())


def _attempt(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except ConformanceError:
        raise
    except Exception as error:
        return error


def check_value(bench: Bench, name: str) -> None:
    """It can be measured and differentiated, is finite, and has 64 bits."""
    bench.require(name)
    value = bench.eager[name]
    if not isinstance(value, (jax.Array, np.ndarray, np.generic, float)):
        fail(f"returned a {type(value).__name__}, not an array; return a JAX array of shape () for a number")
    array = np.asarray(value)
    if array.dtype != np.float64:
        fail(f"returned {array.dtype} on a {bench.packing.name}, not float64; leave out dtypes and casts")
    if not np.all(np.isfinite(array)):
        bad = f"{np.sum(~np.isfinite(array))} of {array.size} numbers are" if array.ndim else f"{array} is"
        fail(
            f"on a {bench.packing.name} {bad} not finite; give square roots, divisions and logarithms a safe "
            "argument by "
            "`jnp.where` on both sides"
        )


def check_precision(bench: Bench, name: str) -> None:
    """Nothing on the way to the value has less than 64 bits."""
    bench.require(name)
    low = bench.low_precision(name)
    if low:
        fail(f"computes with {listed(low)} on the way; leave out dtypes and casts: everything is float64")


def _low(program: Any) -> list[str]:
    return sorted({str(dtype) for dtype in _dtypes(program.jaxpr) if dtype in LOW_PRECISION})


def _dtypes(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            if hasattr(variable.aval, "dtype"):
                yield variable.aval.dtype
        for parameter in jax.tree.leaves(equation.params, is_leaf=_is_program):
            if isinstance(parameter, jex.ClosedJaxpr):
                yield from _dtypes(parameter.jaxpr)
            elif isinstance(parameter, jex.Jaxpr):
                yield from _dtypes(parameter)


def _is_program(value: Any) -> bool:
    return isinstance(value, (jex.Jaxpr, jex.ClosedJaxpr))


def check_determinism(bench: Bench, name: str) -> None:
    """Measured twice, with others in between, it gives the same to the last digit."""
    bench.require(name)
    first = np.asarray(bench.eager[name])
    for _ in range(2):
        again = np.asarray(bench.measures[name](bench.packing.state()))
        if again.shape != first.shape or not np.array_equal(again, first, equal_nan=True):
            fail(
                f"measured twice on the same {bench.packing.name} it gave {_show(first)} and {_show(again)}; a "
                "measurement "
                "depends on nothing but the state: no counters, caches, clocks or random numbers (which need a "
                "fixed key)"
            )


def check_jit(bench: Bench, name: str) -> None:
    """Compiled and not, it gives the same."""
    bench.require(name)
    _compare(
        bench.values[name],
        np.asarray(bench.eager[name]),
        1e-11,
        1e-12,
        "compiled by jax.jit",
        "not compiled",
        "do not branch on, or convert, what depends on the state",
    )


def check_gradient(bench: Bench, name: str) -> None:
    """Its derivative is that of the packing prepared again at other parameters."""
    bench.require(name)
    slope = bench.slopes[name]
    where = f"on a {bench.packing.name}, along a random direction of {listed(bench.packing.parameter_names)}"
    if not np.isfinite([slope.forward, slope.reverse, slope.norm]).all():
        fail(
            f"{where}, the derivative is not a number although the value is; put `jnp.where` around the argument "
            "of the "
            "operation that has no derivative there, not only around its result"
        )
    if slope.norm == 0.0:
        moves = f"while it changes by {slope.difference:.6g} per unit" if slope.difference else "and so does the value"
        fail(
            f"{where}, the gradient is zero {moves}; counts, signs, rounding and stop_gradient have no "
            "derivative: weigh "
            "with a smooth function instead"
        )
    if not abs(slope.forward - slope.reverse) < 1e-10 * slope.norm:
        fail(
            f"{where}, forward mode gives {slope.forward:.12g} and reverse mode {slope.reverse:.12g}; check "
            "custom rules"
        )
    if not slope.error < TOLERANCE:
        fail(
            f"{where}, the derivative is {slope.forward:.9g}, but central differences of the packing prepared "
            "again give "
            f"{slope.difference:.9g} (step {slope.step:g}): off by {slope.error:.1e} of the gradient's norm, "
            f"{TOLERANCE:g} is allowed; some dependence is cut (stop_gradient, an array kept from elsewhere, NumPy) or "
            "jumps (argsort, rounding, a cut-off)"
        )


def check_vmap(bench: Bench, name: str) -> None:
    """Under `jax.vmap` it gives what it gives one by one."""
    bench.require(name)
    together, single = bench.mapped
    for k, one in enumerate(single):
        _compare(
            together[name][k], one[name], 1e-10, 1e-11, "under jax.vmap", "by itself", "avoid shapes that are fixed"
        )


def check_invariance(bench: Bench, name: str, change: str) -> None:
    """The same packing described in another way has the same value."""
    bench.require(name)
    advice = {
        "translated": "read positions through `configuration.displacement` only",
        "relabelled": "sum or average over particles, whatever their number",
        "other images": "read positions through `configuration.displacement`, which takes the nearest image",
    }[change]
    _compare(bench.changed(change)[name], bench.values[name], 1e-9, 1e-10, f"with particles {change}", "before", advice)


def check_turn(bench: Bench, name: str) -> None:
    """Numbers stay the same when packing and box are turned; tensors turn with them."""
    bench.require(name)
    before, after = bench.values[name], bench.changed("turned")[name]
    dimension = bench.packing.prepared.configuration.dimension
    if before.ndim >= 2 and set(before.shape) == {dimension}:
        for axis in range(before.ndim):
            before = np.moveaxis(np.tensordot(quarter_turn(dimension), before, (1, axis)), 0, axis)
    _compare(
        after,
        before,
        1e-9,
        1e-10,
        "after a quarter turn of packing and box",
        "before (tensors turned)",
        "take all directions alike, or state `is_isotropic = False`",
    )


def _compare(found, expected, relative: float, absolute: float, what: str, other: str, advice: str) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        fail(f"{what} it has shape {found.shape}, {other} {expected.shape}; {advice}")
    if not np.allclose(found, expected, rtol=relative, atol=absolute, equal_nan=True):
        error = float(np.max(np.abs(found - expected)))
        fail(f"{what} it is {_show(found)}, {other} {_show(expected)}: they differ by {error:.2e}; {advice}")


def _show(value: np.ndarray) -> str:
    if value.ndim == 0:
        return f"{float(value):.15g}"
    return f"{np.array2string(value.reshape(-1)[:3], precision=12)}{'…' if value.size > 3 else ''}"


def bench_of(measures: Mapping[str, Measure], kind: str, protocol: Any = None, *, compiled: bool = False) -> Bench:
    """A bench on one of the shared packings."""
    return Bench(measures, default_packing(kind, protocol), compiled=compiled)
