import functools
from collections.abc import Callable, Mapping

import jax
import jaxtyping
import numpy as np

from ..components.property import AbstractProperty
from ..components.protocol import AbstractProtocol
from ..registry.component import Component
from ..registry.registry import registry
from ._bench import Bench, bench_of
from ._checks import (
    check_determinism,
    check_gradient,
    check_invariance,
    check_jit,
    check_precision,
    check_turn,
    check_value,
    check_vmap,
)
from ._failures import fail, run_all
from ._packings import CHANGES, default_instance, default_protocol
from ._static import as_component, static_checks


def check_property(instance: AbstractProperty, *, dimensions: tuple[int, ...] = (2, 3)) -> None:
    """Check everything that a property has to do; raises one `ConformanceError` that lists what it does not.

    **Arguments:**

    - `instance`: the property.
    - `dimensions`: of the packings that it is checked on; `(2,)` for one that exists in two dimensions only.
    """
    __tracebackhide__ = True
    component = as_component(instance)
    group = PropertyGroup({component.name: instance}, dimensions)
    run_all(f"property {component.name}", property_checks(component, instance, group))


class PropertyGroup:
    """Properties that are measured together, so that what they share is compiled once."""

    def __init__(self, properties: Mapping[str, AbstractProperty], dimensions: tuple[int, ...] = (2, 3)):
        self.properties, self.dimensions = dict(properties), dimensions
        # By the protocol's identity: one that holds arrays has no hash.
        self._benches: dict[tuple[str, int], Bench] = {}

    @property
    def packings(self) -> list[str]:
        return [f"{dimension}d" for dimension in self.dimensions]

    def bench(self, name: str, kind: str) -> Bench:
        """The bench that a property is measured on."""
        protocol = protocol_for(self.properties[name])
        key = kind, id(protocol)
        if key not in self._benches:
            together = {n: p.measure for n, p in self.properties.items() if protocol_for(p) is protocol}
            compiled = kind != self.packings[0]
            self._benches[key] = bench_of(together, kind, protocol, compiled=compiled)
        return self._benches[key]


@functools.cache
def _protocols() -> list[AbstractProtocol]:
    protocols = [default_protocol()]
    for component in registry().components("protocol").values():
        try:
            protocols.append(default_instance(component))
        except Exception:  # a protocol with required parameters
            continue
    return protocols


def protocol_for(wanted: AbstractProperty) -> AbstractProtocol:
    """The first protocol whose states the property can read: the usual one if it can."""
    for protocol in _protocols():
        if issubclass(type(protocol).provides, wanted.requires):
            return protocol
    fail(f"requires {wanted.requires.__name__}, which no registered protocol provides with its default parameters")


def property_checks(
    component: Component, instance: AbstractProperty, group: PropertyGroup
) -> dict[str, Callable[[], None]]:
    """The checks of one property, by name."""
    name = component.name

    def on_all(check: Callable[..., None], *arguments: str) -> Callable[[], None]:
        def run() -> None:
            for kind in group.packings:
                check(group.bench(name, kind), name, *arguments)

        return run

    def on_first(check: Callable[..., None], *arguments: str) -> Callable[[], None]:
        return lambda: check(group.bench(name, group.packings[0]), name, *arguments)

    def gradient() -> None:
        for kind in group.packings:
            # Where something floats, the softest mode is that: what looks at it alone is zero there.
            check_gradient(group.bench(name, kind), name, zero_is_legal=kind == "2d" and len(group.packings) > 1)

    def turned() -> None:
        if type(instance).is_isotropic:
            on_all(check_turn)()

    return {
        **static_checks(instance, component),
        "value": on_all(check_value),
        "shape": lambda: check_shape(instance, group.bench(name, group.packings[0]), name),
        "precision": on_first(check_precision),
        "determinism": on_first(check_determinism),
        "jit": on_first(check_jit),
        "gradient": gradient,
        "vmap": on_first(check_vmap),
        **{f"invariance ({change})": on_all(check_invariance, change) for change in CHANGES},
        "invariance (turned)": turned,
    }


def check_shape(instance: AbstractProperty, bench: Bench, name: str) -> None:
    """The shape that `measure` declares."""
    bench.require(name)
    value = np.asarray(bench.eager[name])
    declared = getattr(type(instance).measure, "__annotations__", {}).get("return")
    if not (isinstance(declared, type) and issubclass(declared, jaxtyping.AbstractArray)):
        return
    with jaxtyping.jaxtyped("context"):
        fits = isinstance(jax.numpy.asarray(value), declared)
    if not fits:
        text = f"{declared.dtype.__name__}[Array, {declared.dim_str!r}]"
        fail(f"`measure` declares {text}, but returned {value.dtype} of shape {value.shape} on a {bench.packing.name}")
