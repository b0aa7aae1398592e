import copy
from collections.abc import Callable, Mapping

import jax
import numpy as np
from jaxtyping import PyTree

from ..components.combination import AbstractCombination
from ..registry.component import Component
from ._failures import fail, raised, run_all
from ._static import as_component, static_checks

STEPS = 3
WEIGHTS = {"pressure": 2.0, "poisson_ratio": 1.0, "density": 0.5}


def check_combination(instance: AbstractCombination) -> None:
    """Check everything that a combination has to do; raises one `ConformanceError` that lists what it does not."""
    __tracebackhide__ = True
    component = as_component(instance)
    run_all(f"combination {component.name}", combination_checks(component, instance))


def combination_checks(component: Component, instance: AbstractCombination) -> dict[str, Callable[[], None]]:
    """The checks of one combination, by name."""
    return {
        **static_checks(instance, component),
        "factors": lambda: check_factors(instance),
        "state": lambda: check_state(instance),
        "order of the terms": lambda: check_order(instance),
    }


Gradients = dict[str, dict[str, np.ndarray]]


def _situations() -> dict[str, tuple[Gradients, dict[str, float]]]:
    """What a training meets, by name: gradients and losses of the terms."""
    rng = np.random.default_rng(0)

    def gradient() -> dict[str, np.ndarray]:
        return {"binding_energy": rng.normal(size=3), "diameter": rng.normal(size=2)}

    first, second, third = gradient(), gradient(), gradient()
    zero = {name: np.zeros_like(part) for name, part in first.items()}
    opposite = {name: -part for name, part in first.items()}
    return {
        "one term": ({"pressure": first}, {"pressure": 0.1}),
        "two terms": ({"pressure": first, "poisson_ratio": second}, {"pressure": 0.1, "poisson_ratio": 3.0}),
        "three terms": (
            {"pressure": first, "poisson_ratio": second, "density": third},
            {"pressure": 0.1, "poisson_ratio": 3.0, "density": 1e-6},
        ),
        "opposite gradients": ({"pressure": first, "poisson_ratio": opposite}, {"pressure": 0.1, "poisson_ratio": 0.2}),
        "a term on its target": ({"pressure": first, "poisson_ratio": zero}, {"pressure": 0.1, "poisson_ratio": 0.0}),
        "all terms on target": ({"pressure": zero, "poisson_ratio": zero}, {"pressure": 0.0, "poisson_ratio": 0.0}),
        # An unbiased estimator of a square can be negative.
        "a negative loss": ({"pressure": first, "poisson_ratio": second}, {"pressure": -1e-4, "poisson_ratio": 0.2}),
    }


def _step(
    combination: AbstractCombination, gradients: Gradients, losses: Mapping[str, float], state: PyTree
) -> tuple[dict[str, float], PyTree]:
    weights = {name: WEIGHTS[name] for name in gradients}
    try:
        return combination.factors(gradients, losses, weights, state)
    except Exception as error:
        fail(f"factors raised {raised(error)}")


def check_factors(combination: AbstractCombination) -> None:
    """A finite factor for each term, not negative, the same when asked again; what it is given stays as it was."""
    for name, (gradients, losses) in _situations().items():
        combination.check(list(gradients))
        state = combination.start(list(gradients))
        for _ in range(STEPS):
            given = copy.deepcopy((gradients, losses, state))
            factors, after = _step(combination, gradients, losses, state)
            if not _same(given, (gradients, losses, state)):
                fail(f"{name}: it changes the gradients, losses or state that it is given; make new ones")
            if set(factors) != set(gradients):
                fail(f"{name}: it returns factors for {', '.join(factors)}; the terms are {', '.join(gradients)}")
            for term, factor in factors.items():
                if not isinstance(factor, (int, float)) or not np.isfinite(factor) or factor < 0.0:
                    fail(f"{name}: the factor of {term} is {factor!r}; it must be a finite number of at least zero")
            pushes = [term for term, gradient in gradients.items() if any(np.any(part) for part in gradient.values())]
            if pushes and not any(factors[term] > 0.0 for term in pushes):
                fail(f"{name}: no term that has a gradient has a factor above zero: nothing would train")
            again, _ = _step(combination, gradients, losses, state)
            if again != factors:
                fail(
                    f"{name}: asked twice it gave {factors} and {again}; a run could not be resumed to the same numbers"
                )
            state = after


def check_state(combination: AbstractCombination) -> None:
    """Arrays only, of a structure and of shapes that steps do not change: it is kept in checkpoints."""
    for name, (gradients, losses) in _situations().items():
        state = combination.start(list(gradients))
        strange = sorted(
            {type(x).__name__ for x in jax.tree.leaves(state) if not isinstance(x, (np.ndarray, jax.Array))}
        )
        if strange:
            fail(f"start returns {', '.join(strange)}; keep arrays only, such as np.asarray(0.0)")
        before = _form(state)
        for _ in range(STEPS):
            _, state = _step(combination, gradients, losses, state)
            if _form(state) != before:
                fail(f"{name}: the state changes in a step, from {before[1]} to {_form(state)[1]}")


def check_order(combination: AbstractCombination) -> None:
    """Terms named in another order have the same factors."""
    for name, (gradients, losses) in _situations().items():
        turned = dict(reversed(gradients.items())), dict(reversed(losses.items()))
        first, _ = _step(combination, gradients, losses, combination.start(list(gradients)))
        second, _ = _step(combination, *turned, combination.start(list(turned[0])))
        for term, factor in first.items():
            if not np.isclose(factor, second[term], rtol=1e-10, atol=1e-14):
                fail(f"{name}: the factor of {term} is {factor:.10g}, and {second[term]:.10g} with the terms reversed")


def _form(state: PyTree) -> tuple[object, list[str]]:
    arrays = map(np.asarray, jax.tree.leaves(state))
    return jax.tree.structure(state), [f"{array.dtype}{array.shape}" for array in arrays]


def _same(first: PyTree, second: PyTree) -> bool:
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True) for a, b in pairs)


__all__ = ["check_combination", "combination_checks"]
