from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..components.protocol import AbstractProtocol, Outcome, Prepared
from ..physics.pair_list import build_pair_list
from ..physics.state import State
from ..registry.component import Component
from ._bench import Bench
from ._checks import check_gradient, check_jit, check_value, check_vmap
from ._failures import fail, raised, run_all
from ._packings import Packing, default_potential, make_packing
from ._static import as_component, static_checks


def check_protocol(instance: AbstractProtocol) -> None:
    """Check everything that a protocol has to do; raises one `ConformanceError` that lists what it does not.

    It prepares the usual potential in two dimensions. The derivative that `attach` gives to the distances of neighbours
    is compared with central differences of what `follow` finds at other parameters.
    """
    __tracebackhide__ = True
    component = as_component(instance)
    run_all(f"protocol {component.name}", protocol_checks(component, instance))


class _Subject:
    """A protocol with a packing that it prepared, at first use."""

    def __init__(self, protocol: AbstractProtocol):
        self.protocol, self.potential = protocol, default_potential()
        self._packing: Packing | None = None
        self._bench: Bench | None = None

    @property
    def packing(self) -> Packing:
        if self._packing is None:
            try:
                self._packing = make_packing(self.potential, self.protocol)
            except Exception as error:
                fail(f"could not prepare the usual potential from random starts: {raised(error)}")
        return self._packing

    @property
    def bench(self) -> Bench:
        if self._bench is None:
            pairs = build_pair_list(self.packing.prepared.configuration, 0.5 * self.potential.cutoff)
            i, j = pairs.i[: int(pairs.n_pairs)], pairs.j[: int(pairs.n_pairs)]

            def squared_distances(state: State) -> Float[Array, " pairs"]:
                return jnp.sum(state.configuration.displacement(i, j) ** 2, axis=-1)

            self._bench = Bench({"distances": squared_distances}, self.packing)
        return self._bench


def protocol_checks(component: Component, instance: AbstractProtocol) -> dict[str, Callable[[], None]]:
    """The checks of one protocol, by name."""
    subject = _Subject(instance)

    def on_bench(check: Callable[[Bench, str], None]) -> Callable[[], None]:
        return lambda: check(subject.bench, "distances")

    return {
        **static_checks(instance, component),
        "prepared": lambda: check_prepared(subject),
        "determinism": lambda: check_same_again(subject),
        "state": lambda: check_state(subject),
        "value": on_bench(check_value),
        "jit": on_bench(check_jit),
        "vmap": on_bench(check_vmap),
        "follow": lambda: check_follow(subject),
        "remember": lambda: check_remember(subject),
        "gradient": on_bench(check_gradient),
    }


def check_prepared(subject: _Subject) -> None:
    """`prepare` returns a `Prepared` with an `Outcome`, numbers for statistics and arrays for memory."""
    prepared = subject.packing.prepared
    if not isinstance(prepared, Prepared):
        fail(f"prepare returned a {type(prepared).__name__}, not a gw.Prepared")
    Outcome(int(prepared.outcome))
    for name, number in prepared.statistics.items():
        if np.asarray(number).shape != () or not np.isfinite(np.asarray(number)):
            fail(f"statistics[{name!r}] is {number}; it must be a single finite number")
    leaves = jax.tree.leaves(prepared.memory)
    strange = [
        type(leaf).__name__ for leaf in leaves if not (eqx.is_array(leaf) or isinstance(leaf, (np.ndarray, np.generic)))
    ]
    if strange:
        fail(f"memory holds {', '.join(sorted(set(strange)))}; keep arrays only, or checkpoints could not hold it")


def check_same_again(subject: _Subject) -> None:
    """The same start and the same key give the same packing to the last digit."""
    configuration = subject.packing.prepared.configuration
    moved = configuration.moved(1e-3 * jax.random.normal(jax.random.key(1), configuration.fractional.shape))
    ends = [subject.protocol.prepare(subject.potential, moved, key=jax.random.key(5)) for _ in range(2)]
    first, second = (np.asarray(end.configuration.fractional) for end in ends)
    if not np.array_equal(first, second):
        fail(
            f"prepared twice from one start with one key, particles differ by {np.max(np.abs(first - second)):.1e}; "
            "all randomness must come from `key`"
        )


def check_state(subject: _Subject) -> None:
    """`attach` gives what `provides` promises, at the positions that were prepared."""
    state, promised = subject.packing.state(), type(subject.protocol).provides
    if not isinstance(state, promised) or not isinstance(state, State):
        fail(f"attach returned a {type(state).__name__}, but `provides` promises {promised.__name__}")
    difference = state.configuration.fractional - subject.packing.prepared.configuration.fractional
    if float(jnp.max(jnp.abs(difference))) != 0.0:
        fail(
            f"attach moved particles by {float(jnp.max(jnp.abs(difference))):.1e}; it adds a derivative, and no motion"
        )


def check_follow(subject: _Subject) -> None:
    """`follow` at unchanged parameters prepares again."""
    prepared = subject.packing.prepared
    again = subject.protocol.follow(subject.potential, prepared, key=jax.random.key(5))
    if not again.accepted:
        fail(f"follow at unchanged parameters ended as {Outcome(int(again.outcome)).name}")


def check_remember(subject: _Subject) -> None:
    """`remember` makes a memory that serves as well as the one that `prepare` returned."""
    prepared = subject.packing.prepared
    if not jax.tree.leaves(prepared.memory):
        return
    again = subject.protocol.remember(subject.potential, prepared.configuration)
    # JAX's annotations do not know that structures can be compared.
    first: object = jax.tree.structure(prepared.memory)
    second = jax.tree.structure(again)
    if first != second:
        fail(
            "`remember` gives a memory of another structure than `prepare` (or none), so runs could not be resumed; "
            f"{second} instead of {first}"
        )
    other = Bench(subject.bench.measures, Packing("remembered", subject.potential, subject.protocol, prepared))
    vars(other)["prepared"] = Prepared(prepared.configuration, prepared.outcome, {}, again)
    if not np.allclose(other.values["distances"], subject.bench.values["distances"], rtol=1e-9, atol=1e-12):
        fail("with the memory that `remember` makes, `attach` gives other values than with that of `prepare`")


__all__ = ["check_protocol", "protocol_checks"]
