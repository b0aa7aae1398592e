from collections.abc import Callable

from ..components.sampler import AbstractSampler
from ..registry.component import Component
from ._failures import fail, run_all
from ._static import as_component, static_checks

STEPS = 50


def check_sampler(instance: AbstractSampler) -> None:
    """Check everything that a sampler has to do; raises one `ConformanceError` that lists what it does not."""
    __tracebackhide__ = True
    component = as_component(instance)
    run_all(f"sampler {component.name}", sampler_checks(component, instance))


def sampler_checks(component: Component, instance: AbstractSampler) -> dict[str, Callable[[], None]]:
    """The checks of one sampler, by name."""
    return {**static_checks(instance, component), "indices": lambda: check_indices(instance)}


def check_indices(sampler: AbstractSampler) -> None:
    """`size` different configurations at every step, which depend on the step alone."""
    if isinstance(sampler.size, bool) or not isinstance(sampler.size, int) or sampler.size < 1:
        fail(f"size is {sampler.size!r}; it must be an integer of at least one")
    if not isinstance(sampler.is_population, bool):
        fail(f"is_population is {sampler.is_population!r}; it must be True or False")
    before = None
    for step in range(STEPS):
        indices = list(sampler.indices(step))
        if len(indices) != sampler.size or len(set(indices)) != len(indices):
            fail(f"step {step} looks at {indices}; it must be {sampler.size} different configurations (`size`)")
        if any(isinstance(index, bool) or not isinstance(index, int) or index < 0 for index in indices):
            fail(f"step {step} looks at {indices}; indices are integers from 0 on")
        again = list(sampler.indices(step))
        if again != indices:
            fail(f"asked twice, step {step} looks at {indices} and at {again}; indices depend on the step alone")
        if sampler.is_population and before is not None and set(indices) != before:
            fail(f"is_population is True, but step {step} looks at {indices} and the one before at {sorted(before)}")
        before = set(indices)


__all__ = ["check_sampler", "sampler_checks"]
