"""Checks of a function of a state on a bench, which properties, potentials and protocols share."""

import jax
import numpy as np

from ._bench import TOLERANCE, Bench
from ._failures import fail, listed
from ._packings import quarter_turn

# A gradient this small is rounding, in the units of the packings here, where all that matters is about one.
ROUNDING = 1e-14


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
            f"on a {bench.packing.name} {bad} not finite; give square roots, divisions and logarithms a safe argument "
            "by `jnp.where` on both sides"
        )


def check_precision(bench: Bench, name: str) -> None:
    """Nothing on the way to the value has less than 64 bits."""
    bench.require(name)
    low = bench.low_precision(name)
    if low:
        fail(f"computes with {listed(low)} on the way; leave out dtypes and casts: everything is float64")


def check_determinism(bench: Bench, name: str) -> None:
    """Measured twice, with others in between, it gives the same to the last digit."""
    bench.require(name)
    first = np.asarray(bench.eager[name])
    for _ in range(2):
        again = np.asarray(bench.measures[name](bench.packing.state()))
        if again.shape != first.shape or not np.array_equal(again, first, equal_nan=True):
            fail(
                f"measured twice on the same {bench.packing.name} it gave {_show(first)} and {_show(again)}; a "
                "measurement depends on nothing but the state: no counters, caches, clocks or random numbers (which "
                "need a fixed key)"
            )


def check_jit(bench: Bench, name: str) -> None:
    """It gives the same compiled and not compiled."""
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


def check_gradient(bench: Bench, name: str, zero_is_legal: bool = False) -> None:
    """Its derivative is that of the packing prepared again at other parameters.

    With `zero_is_legal` a gradient that is nothing but rounding passes: another packing decides.
    """
    bench.require(name)
    if name not in bench.finite:
        fail(f"the value on a {bench.packing.name} is not finite, so that it has no derivative")
    slope = bench.slopes[name]
    where = f"on a {bench.packing.name}, along a random direction of {listed(bench.packing.parameter_names)}"
    if not np.isfinite([slope.forward, slope.reverse, slope.norm]).all():
        fail(
            f"{where}, the derivative is not a number although the value is; put `jnp.where` around the argument of "
            "the operation that has no derivative there, not only around its result"
        )
    if zero_is_legal and slope.norm < ROUNDING:
        return
    if slope.norm == 0.0:
        moves = f"while it changes by {slope.difference:.6g} per unit" if slope.difference else "and so does the value"
        fail(
            f"{where}, the gradient is zero {moves}; counts, signs, rounding and stop_gradient have no derivative: "
            "weigh with a smooth function instead"
        )
    if not abs(slope.forward - slope.reverse) < 1e-10 * slope.norm:
        fail(
            f"{where}, forward mode gives {slope.forward:.12g} and reverse mode {slope.reverse:.12g}; check custom "
            "rules"
        )
    if not slope.error < TOLERANCE:
        fail(
            f"{where}, the derivative is {slope.forward:.9g}, but central differences of the packing prepared again "
            f"give {slope.difference:.9g} (step {slope.step:g}): off by {slope.error:.1e} of the gradient's norm, "
            f"{TOLERANCE:g} is allowed; some dependence is cut (stop_gradient, an array kept from elsewhere, NumPy) or "
            "jumps (argsort, rounding, a cut-off)"
        )


def check_vmap(bench: Bench, name: str) -> None:
    """It gives the same under `jax.vmap` as without."""
    bench.require(name)
    together, single = bench.mapped
    for k, values in enumerate(single):
        _compare(
            np.asarray(together[name][k]),
            values[name],
            1e-10,
            1e-11,
            "under jax.vmap",
            "by itself",
            "avoid shapes that are fixed",
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


def _compare(
    value: np.ndarray, expected: np.ndarray, relative: float, absolute: float, what: str, other: str, advice: str
) -> None:
    if value.shape != expected.shape:
        fail(f"{what} it has shape {value.shape}, {other} {expected.shape}; {advice}")
    if not np.allclose(value, expected, rtol=relative, atol=absolute, equal_nan=True):
        error = float(np.max(np.abs(value - expected)))
        fail(f"{what} it is {_show(value)}, {other} {_show(expected)}: they differ by {error:.2e}; {advice}")


def _show(value: np.ndarray) -> str:
    if value.ndim == 0:
        return f"{float(value):.15g}"
    return f"{np.array2string(value.reshape(-1)[:3], precision=12)}{'…' if value.size > 3 else ''}"
