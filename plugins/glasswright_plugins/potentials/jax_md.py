"""Energy functions of jax-md."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
from glasswright.neighbors import PairIndex, PairList
from jaxtyping import Array, Float

from ._parameters import check, pair_index, per_pair
from ._smoothing import Smoothing, cutoff_polynomial, evaluate_polynomial, xplor

# Pair functions that end by themselves at the largest of this parameter.
FINITE_RANGE = {"soft_sphere": "sigma"}
# Ways of calling the same functions that bring systems and neighbour lists of their own.
WRAPPERS = ("_pair", "_neighbor_list", "_bond", "_from_lammps_parameters")


class JaxMD(gw.AbstractPotential):
    """An energy function of jax-md by name: one of a pair distance, or of all positions (many-body).

    All derivatives are taken by automatic differentiation, and linear systems are solved without a matrix. Many-body
    functions sum over all pairs or triplets of particles, so they are for some hundred particles.

    Source: Schoenholz & Cubuk, NeurIPS 33 (2020); `jax_md.energy`.

    **Arguments:**

    - `function`: its name in `jax_md.energy`: `lennard_jones`, `soft_sphere`, `morse`, `bks`, … (of a distance);
      `stillinger_weber`, `edip`, `gupta_potential`, `tersoff`, … (of all positions).
    - `parameters`: its arguments by name; those left out keep jax-md's default. All of them can be trained, as
      `potential.parameters.NAME`. In functions of a distance each is one number for all pairs, one for each species (a
      pair has the mean), or one for each pair of species (a symmetric matrix, or its packed upper triangle).
    - `cutoff`: range of the interaction, in units of length. Left out, that of the function, where it has one.
    - `onset`: where a function of a distance begins to be smoothed to zero at the cutoff, by XPLOR. Left out, at 0.8
      times the cutoff, or not at all if the function has a range of its own.
    - `n_species`: number of species.
    - `smoothing`: how a function of a distance that has no range of its own ends at the cutoff: multiplied by `xplor`,
      or with an even polynomial added that makes one derivative continuous (`polynomial_1`), two (`polynomial_2`) or
      three (`polynomial_3`).
    """

    function: str = eqx.field(static=True)
    parameters: dict[str, Float[Array, "..."]]
    range: float | None = eqx.field(static=True)
    onset: float | None = eqx.field(static=True)
    n_species: int = eqx.field(static=True)
    smoothing: Smoothing = eqx.field(static=True)

    def __init__(
        self,
        function: str,
        parameters: Mapping[str, object] | None = None,
        cutoff: float | None = None,
        onset: float | None = None,
        n_species: int = 1,
        smoothing: Smoothing = "xplor",
    ):
        signature = inspect.signature(find_function(function)).parameters
        given = dict(parameters or {})
        self.function, self.n_species = function, n_species
        if "params" in signature:
            # Tersoff: one dictionary for each species, of which jax-md knows one. Its defaults can be anything.
            known: dict[str, Any] = dict.fromkeys(given)
        else:
            known = {name: p.default for name, p in list(signature.items())[1:] if p.kind is not p.VAR_KEYWORD}
        has_range = "cutoff" in known
        default_range = known.pop("cutoff", None)
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(f"jax_md(parameters={unknown}): {function} has the parameters {', '.join(known)}.")
        missing = [name for name, default in known.items() if default is inspect.Parameter.empty and name not in given]
        if missing:
            raise ValueError(f"jax_md(parameters={list(given)}): {function} also needs {', '.join(missing)}.")
        values = {name: given.get(name, default) for name, default in known.items()}
        self.parameters = {name: self._as_array(name, value) for name, value in values.items()}
        if cutoff is None and has_range and default_range is not inspect.Parameter.empty:
            cutoff = default_range
        if cutoff is None and function not in FINITE_RANGE:
            raise ValueError(f"jax_md(cutoff=None): {function} has no range of its own; give the cutoff.")
        self.range = None if cutoff is None else float(cutoff)
        smooth = self._of_distance and not has_range and cutoff is not None and function not in FINITE_RANGE
        if smoothing != "xplor" and (not smooth or onset is not None):
            raise ValueError(
                f"jax_md(smoothing={smoothing}): is for functions of a distance that have no range of their own, and "
                "has no onset."
            )
        self.smoothing = smoothing
        smooth = smooth and smoothing == "xplor"
        self.onset = 0.8 * self.range if onset is None and smooth and self.range is not None else onset
        if self.onset is not None and not self._of_distance:
            raise ValueError(f"jax_md(onset={onset}): {function} is no function of a distance.")

    def __check_init__(self) -> None:
        for name, value in (("cutoff", self.range), ("onset", self.onset)):
            if value is not None:
                check("jax_md", positive={name: value})
        if self.onset is not None and (self.range is None or not self.onset < self.range):
            raise ValueError(f"jax_md(onset={self.onset}, cutoff={self.range}): the onset must come before the cutoff.")

    def _as_array(self, name: str, value: object) -> Float[Array, "..."]:
        """A parameter as an array; raises a `ValueError` for a value that the function cannot take."""
        if not isinstance(value, int | float | list | tuple | jax.Array) or isinstance(value, bool):
            raise ValueError(f"jax_md(parameters={name}): {self.function} wants no number there: {value!r}.")
        array = jnp.asarray(value, dtype=float)
        if array.ndim == 0:
            return array
        if not self._of_distance:
            raise ValueError(f"jax_md(parameters={name}): {self.function} takes one number, not {array.tolist()}.")
        return array if array.shape == (self.n_species,) else per_pair("jax_md", name, array, self.n_species)

    @property
    def _of_distance(self) -> bool:
        """Whether the function is one of a distance, and not of all positions."""
        return next(iter(inspect.signature(find_function(self.function)).parameters)) in ("dr", "r")

    @property
    def cutoff(self) -> Float[Array, ""]:
        if self.range is None:
            return jnp.max(self.parameters[FINITE_RANGE[self.function]])
        return jnp.asarray(self.range)

    def energy(self, configuration: gw.Configuration, neighbors: PairList) -> Float[Array, ""]:
        """The energy of the listed pairs, or that of all positions."""
        if self._of_distance:
            return self._pair_energy(configuration, neighbors)
        return self._many_body_energy(configuration)

    def _pair_energy(self, configuration: gw.Configuration, neighbors: PairList) -> Float[Array, ""]:
        """The sum of a function of the distance over the listed pairs."""
        i, j, mask = neighbors.i, neighbors.j, neighbors.mask
        squared = jnp.sum(configuration.displacement(i, j) ** 2, axis=-1)
        # Padding and pairs beyond the cutoff get a harmless distance, at which no derivative is infinite.
        cutoff = jax.lax.stop_gradient(self.cutoff)
        inside = mask & (squared < cutoff**2)
        r = jnp.sqrt(jnp.where(inside, squared, cutoff**2))
        arguments: dict[str, Array | float | None] = {
            name: self._of_pairs(value, configuration, i, j) for name, value in self.parameters.items()
        }
        if "cutoff" in inspect.signature(find_function(self.function)).parameters:
            arguments["cutoff"] = self.range
        function = functools.partial(find_function(self.function), **arguments)
        values = function(r)
        if self.onset is not None and self.range is not None:
            values = values * xplor(r, self.onset, self.range)
        if self.smoothing != "xplor" and self.range is not None:
            ends = jnp.full_like(r, self.range)
            polynomial = cutoff_polynomial(function, ends, self.smoothing)
            values = values + jax.vmap(evaluate_polynomial)(polynomial, r, ends)
        return jnp.sum(jnp.where(inside, values, 0.0))

    def _of_pairs(
        self,
        value: Float[Array, "..."],
        configuration: gw.Configuration,
        i: PairIndex,
        j: PairIndex,
    ) -> Float[Array, "..."]:
        """A parameter of each pair."""
        if value.ndim == 0:
            return value
        a, b = configuration.species[i], configuration.species[j]
        if value.shape == (self.n_species,):
            return 0.5 * (value[a] + value[b])
        return value[pair_index(a, b, self.n_species)]

    def _many_body_energy(self, configuration: gw.Configuration) -> Float[Array, ""]:
        """A function of all positions."""
        box = configuration.box

        def displacement(first: Array, second: Array, **_: object) -> Array:
            # In fractional positions, as everywhere here: the derivative of jax-md's own is right for forces only.
            difference = first - second
            return box @ (difference - jax.lax.stop_gradient(jnp.round(difference)))

        function = find_function(self.function)
        names = inspect.signature(function).parameters
        if "params" in names:
            energy: Array = function(displacement, [self.parameters])(configuration.fractional)
            return energy
        arguments = dict(self.parameters)
        if "cutoff" in names:
            arguments["cutoff"] = jnp.asarray(self.range)
        energy = function(displacement, **arguments)(configuration.fractional)
        return energy


@functools.cache
# `Any`: some functions give an energy, others a function that does.
def find_function(name: str) -> Callable[..., Any]:
    """The function of this name in `jax_md.energy`, which is imported at first use: it takes ten seconds."""
    try:
        from jax_md import energy
    except ImportError as error:
        raise ValueError("jax_md: the package is not installed; pip install 'glasswright[jax_md]'.") from error

    function: Callable[..., Any] | None = getattr(energy, name, None)  # as this function gives it
    usable = [
        key
        for key, value in vars(energy).items()
        if inspect.isfunction(value)
        and value.__module__ == energy.__name__
        and not key.startswith(("_", "load_"))
        and not key.endswith(WRAPPERS)
        and next(iter(inspect.signature(value).parameters), "") in ("dr", "r", "displacement", "displacement_or_metric")
    ]
    if function is None or name not in usable:
        raise ValueError(
            f"jax_md(function={name}): no energy function that can be used; possible: {', '.join(usable)}."
        )
    return function
