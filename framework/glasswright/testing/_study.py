from collections.abc import Callable

from ..components.study import SCALES, AbstractStudy
from ..registry.component import Component
from ..run.listing import COMMANDS
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
    """At each scale there are jobs, with names of their own, of known commands, after those that they read."""
    for scale in SCALES:
        try:
            jobs = list(study.jobs(scale))
        except Exception as error:
            fail(f"jobs({scale!r}) raises {raised(error)}")
        if not jobs:
            fail(f"scale={scale} has no jobs")
        known: set[str] = set()
        for job in jobs:
            if job.name in known:
                fail(f"scale={scale}: two jobs are called {job.name}")
            if job.command not in COMMANDS.values():
                fail(f"scale={scale}: {job.command} is no command; possible: {', '.join(COMMANDS.values())}")
            missing = set(job.reads.values()) - known
            if missing:
                fail(f"scale={scale}: {job.name} reads {', '.join(sorted(missing))}, which is not before it")
            known.add(job.name)


__all__ = ["check_study", "study_checks"]
