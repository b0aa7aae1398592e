from collections.abc import Callable

from ..components.study import SCALES, AbstractStudy
from ..registry.component import Component
from ..reports.reproduce import checked_jobs
from ._failures import fail, raised, run_all
from ._static import as_component, check_documentation


def check_study(instance: AbstractStudy) -> None:
    """Check everything that a study has to do; raises one `ConformanceError` that lists what it does not."""
    __tracebackhide__ = True
    component = as_component(instance)
    run_all(f"study {component.name}", study_checks(component, instance))


def study_checks(component: Component, instance: AbstractStudy) -> dict[str, Callable[[], None]]:
    """The checks of one study, by name."""
    return {
        "documentation": lambda: check_texts(component, instance),
        "jobs": lambda: check_jobs(instance),
    }


def check_texts(component: Component, study: AbstractStudy) -> None:
    """It has a docstring, a title, and says where the result was published."""
    check_documentation(component)
    for fact in ("title", "source"):
        if not getattr(type(study), fact):
            fail(f'{type(study).__name__} does not state its {fact}; add the class attribute `{fact} = "…"`')


def check_jobs(study: AbstractStudy) -> None:
    """At each scale there are jobs, as those have to be that can be run."""
    for scale in SCALES:
        try:
            jobs = checked_jobs(study, scale)
        except ValueError as error:
            fail(f"scale={scale}: {error}")
        except Exception as error:
            fail(f"jobs({scale!r}) raises {raised(error)}")
        if not jobs:
            fail(f"scale={scale} has no jobs")


__all__ = ["check_study", "study_checks"]
