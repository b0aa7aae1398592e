"""Design disordered solids by differentiating through their preparation."""

import importlib
from typing import TYPE_CHECKING

from . import _environment as _environment

if TYPE_CHECKING:
    from ._errors import RequestError as RequestError
    from ._errors import RunError as RunError
    from ._jax import is_concrete as is_concrete
    from .api import analyse as analyse
    from .api import build as build
    from .api import compose as compose
    from .api import export as export
    from .api import load as load
    from .api import measure as measure
    from .api import resume as resume
    from .api import train as train
    from .api import validate as validate
    from .components.claim import Claim as Claim
    from .components.claim import compare as compare
    from .components.claim import compare_bound as compare_bound
    from .components.claim import compare_mean as compare_mean
    from .components.claim import compare_rate as compare_rate
    from .components.combination import AbstractCombination as AbstractCombination
    from .components.executor import AbstractExecutor as AbstractExecutor
    from .components.objective import AbstractObjective as AbstractObjective
    from .components.objective import Term as Term
    from .components.property import AbstractProperty as AbstractProperty
    from .components.protocol import AbstractProtocol as AbstractProtocol
    from .components.protocol import Outcome as Outcome
    from .components.protocol import Prepared as Prepared
    from .components.sampler import AbstractSampler as AbstractSampler
    from .components.study import AbstractStudy as AbstractStudy
    from .components.study import StudyJob as StudyJob
    from .components.study import StudyRun as StudyRun
    from .components.system import AbstractSystem as AbstractSystem
    from .components.system import System as System
    from .components.tracker import AbstractTracker as AbstractTracker
    from .components.tracker import TrackedRun as TrackedRun
    from .components.treatment import AbstractTreatment as AbstractTreatment
    from .components.treatment import Treated as Treated
    from .components.treatment import Treatments as Treatments
    from .evaluation.design import Design as Design
    from .evaluation.estimator import Variable as Variable
    from .execution.task import Kept as Kept
    from .execution.workers import AbstractWorkers as AbstractWorkers
    from .hookspecs import hookimpl as hookimpl
    from .jobs.experiment import Experiment as Experiment
    from .physics.configuration import Configuration as Configuration
    from .physics.deformation import Deformation as Deformation
    from .physics.deformation import DeformationEvents as DeformationEvents
    from .physics.deformation import DeformationPath as DeformationPath
    from .physics.deformation import EventPath as EventPath
    from .physics.deformation import attach_deformation as attach_deformation
    from .physics.disorder import bond_factor as bond_factor
    from .physics.disorder import diameter_factor as diameter_factor
    from .physics.elasticity import bulk_modulus as bulk_modulus
    from .physics.elasticity import eigenmoduli as eigenmoduli
    from .physics.elasticity import poisson_ratio as poisson_ratio
    from .physics.elasticity import shear_modulus as shear_modulus
    from .physics.enthalpy import attach_enthalpy_minimum as attach_enthalpy_minimum
    from .physics.hessian import AbstractFactoredHessian as AbstractFactoredHessian
    from .physics.hessian import AbstractHessian as AbstractHessian
    from .physics.hessian import DenseHessian as DenseHessian
    from .physics.pair_list import PairList as PairList
    from .physics.pair_potential import AbstractPairPotential as AbstractPairPotential
    from .physics.potential import AbstractPotential as AbstractPotential
    from .physics.state import Equilibrium as Equilibrium
    from .physics.state import State as State
    from .physics.state import attach_equilibrium as attach_equilibrium
    from .reports.result import Result as Result

# The modules of the public names, which are imported at first use: the command line answers `--help` without JAX.
_MODULES = {
    "AbstractCombination": "components.combination",
    "AbstractExecutor": "components.executor",
    "AbstractFactoredHessian": "physics.hessian",
    "AbstractHessian": "physics.hessian",
    "AbstractObjective": "components.objective",
    "AbstractPairPotential": "physics.pair_potential",
    "AbstractPotential": "physics.potential",
    "AbstractProperty": "components.property",
    "AbstractProtocol": "components.protocol",
    "AbstractSampler": "components.sampler",
    "AbstractTracker": "components.tracker",
    "TrackedRun": "components.tracker",
    "AbstractStudy": "components.study",
    "Claim": "components.claim",
    "StudyJob": "components.study",
    "StudyRun": "components.study",
    "compare_bound": "components.claim",
    "compare_mean": "components.claim",
    "compare_rate": "components.claim",
    "compare": "components.claim",
    "AbstractTreatment": "components.treatment",
    "AbstractWorkers": "execution.workers",
    "Treated": "components.treatment",
    "Treatments": "components.treatment",
    "AbstractSystem": "components.system",
    "analyse": "api",
    "attach_deformation": "physics.deformation",
    "attach_enthalpy_minimum": "physics.enthalpy",
    "attach_equilibrium": "physics.state",
    "bond_factor": "physics.disorder",
    "build": "api",
    "bulk_modulus": "physics.elasticity",
    "compose": "api",
    "Configuration": "physics.configuration",
    "Deformation": "physics.deformation",
    "DeformationEvents": "physics.deformation",
    "DeformationPath": "physics.deformation",
    "DenseHessian": "physics.hessian",
    "Design": "evaluation.design",
    "diameter_factor": "physics.disorder",
    "eigenmoduli": "physics.elasticity",
    "Equilibrium": "physics.state",
    "EventPath": "physics.deformation",
    "Experiment": "jobs.experiment",
    "export": "api",
    "hookimpl": "hookspecs",
    "is_concrete": "_jax",
    "Kept": "execution.task",
    "load": "api",
    "measure": "api",
    "Outcome": "components.protocol",
    "PairList": "physics.pair_list",
    "poisson_ratio": "physics.elasticity",
    "Prepared": "components.protocol",
    "RequestError": "_errors",
    "Result": "reports.result",
    "resume": "api",
    "RunError": "_errors",
    "shear_modulus": "physics.elasticity",
    "State": "physics.state",
    "System": "components.system",
    "Term": "components.objective",
    "train": "api",
    "validate": "api",
    "Variable": "evaluation.estimator",
}
# Modules that are public as such.
_PUBLIC_MODULES = ("cli", "hookspecs", "neighbors", "registry", "relax", "testing")
__all__ = sorted(_MODULES)
__version__ = "0.1.0"


if not TYPE_CHECKING:  # type checkers see the imports above, and refuse any other name

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            value = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
            globals()[name] = value
            return value
        if name in _PUBLIC_MODULES:
            return importlib.import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return ["__doc__", "__version__", *_MODULES]
