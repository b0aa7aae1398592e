"""Helpers for JAX: derivatives stopped, traced values told apart, compiled functions that are cheap to call."""

import functools
import logging
import os
from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import PyTreeDef
from jaxtyping import PyTree

from ._compiled import remove_oldest
from ._environment import enable_64_bit
from ._errors import RequestError, one_line

Tree = TypeVar("Tree")
Output = TypeVar("Output")

logger = logging.getLogger(__name__)


def prepare_jax() -> None:
    """Make sure that JAX computes on a device that is there and in 64 bits, whatever others have set meanwhile.

    Raises `RequestError` if the devices that were asked for are not there.
    """
    remove_oldest()
    try:
        jax.devices()
    except Exception as error:  # whatever a backend raises
        asked = _asked_platforms()
        reason = one_line(error, 200).split(" (set JAX_PLATFORMS")[0]
        detail = f" ({reason})" if reason else ""
        raise RequestError(
            f"JAX_PLATFORMS={asked}: there is no such device here, or JAX cannot use it{detail}; unset the variable, "
            "or set JAX_PLATFORMS=cpu"
        ) from error
    if enable_64_bit():
        logger.warning("something has set jax_enable_x64 to False; it is True again: all numbers here have 64 bits")
    if jnp.zeros(()).dtype != jnp.float64:
        raise RequestError("jax_enable_x64: 64-bit numbers are off here and cannot be turned on; leave the context")


def _asked_platforms() -> str:
    """The platforms that JAX was told to use."""
    return str(getattr(jax.config, "jax_platforms", None) or os.environ.get("JAX_PLATFORMS", ""))


def check_64_bit(tree: PyTree, key: str) -> None:
    """Refuse a tree with arrays that were made while 64-bit numbers were off; `key` is what it is called."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if isinstance(leaf, jax.Array) and eqx.is_inexact_array(leaf) and leaf.dtype.itemsize < 8:
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise RequestError(
                f"{key + '.' if key else ''}{name}: has {8 * leaf.dtype.itemsize}-bit numbers; it was made while "
                "jax_enable_x64 was False"
            )


def constant(tree: Tree) -> Tree:
    """The tree without derivatives. Floats stay floats; `jax.lax.stop_gradient` would make arrays of them."""
    result: Tree = jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_array(x) else x, tree)
    return result


def is_concrete(value: object) -> bool:
    """Whether a value is known, and not a tracer: constructors check ranges only then."""
    return not isinstance(value, jax.core.Tracer)


def fast_jit(function: Callable[..., Output]) -> Callable[..., Output]:
    """`equinox.filter_jit` for positional arguments, at a third of its cost per call.

    A search calls compiled functions dozens of times for every configuration. Arrays are traced; everything else in the
    arguments is static and has to be hashable.
    """

    @functools.partial(jax.jit, static_argnums=1)
    def compiled(arrays: list[object], static: tuple[PyTreeDef, tuple[object, ...], tuple[bool, ...]]) -> Output:
        structure, others, which = static
        leaves = iter(arrays)
        rest = iter(others)
        return function(*jax.tree.unflatten(structure, [next(leaves) if traced else next(rest) for traced in which]))

    @functools.wraps(function)
    def call(*arguments: object) -> Output:
        leaves, structure = jax.tree.flatten(arguments)
        which = tuple(isinstance(leaf, jax.Array | np.ndarray | np.generic) for leaf in leaves)
        arrays = [leaf for leaf, traced in zip(leaves, which, strict=True) if traced]
        others = tuple(leaf for leaf, traced in zip(leaves, which, strict=True) if not traced)
        result: Output = compiled(arrays, (structure, others, which))
        return result

    return call


def readable(module: PyTree) -> str:
    """A module with its numbers, long arrays by their ends, where Equinox shows their shapes."""
    with np.printoptions(precision=6, threshold=12, edgeitems=3):
        return eqx.tree_pformat(module, short_arrays=False, width=110)
