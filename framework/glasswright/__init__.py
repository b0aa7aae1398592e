"""Design disordered solids by differentiating through their preparation."""

from . import _environment as _environment

# isort: split
from ._errors import RequestError as RequestError
from ._errors import RunError as RunError
from ._jax import is_concrete as is_concrete
from .api import analyse as analyse
from .api import build as build
from .api import compose as compose
from .api import measure as measure
from .api import resume as resume
from .api import train as train
from .api import validate as validate
from .components.combination import AbstractCombination as AbstractCombination
from .components.objective import AbstractObjective as AbstractObjective
from .components.objective import Term as Term
from .components.property import AbstractProperty as AbstractProperty
from .components.protocol import AbstractProtocol as AbstractProtocol
from .components.protocol import Outcome as Outcome
from .components.protocol import Prepared as Prepared
from .components.sampler import AbstractSampler as AbstractSampler
from .evaluation.design import Design as Design
from .hookspecs import hookimpl as hookimpl
from .jobs.experiment import Experiment as Experiment
from .physics.configuration import Configuration as Configuration
from .physics.disorder import bond_factor as bond_factor
from .physics.disorder import diameter_factor as diameter_factor
from .physics.elasticity import bulk_modulus as bulk_modulus
from .physics.elasticity import eigenmoduli as eigenmoduli
from .physics.elasticity import poisson_ratio as poisson_ratio
from .physics.elasticity import shear_modulus as shear_modulus
from .physics.hessian import AbstractHessian as AbstractHessian
from .physics.hessian import DenseHessian as DenseHessian
from .physics.pair_list import PairList as PairList
from .physics.pair_potential import AbstractPairPotential as AbstractPairPotential
from .physics.potential import AbstractPotential as AbstractPotential
from .physics.state import Equilibrium as Equilibrium
from .physics.state import State as State
from .physics.state import attach_equilibrium as attach_equilibrium
from .physics.system import System as System

__version__ = "0.1.0"
