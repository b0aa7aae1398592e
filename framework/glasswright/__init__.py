"""Design disordered solids by differentiating through their preparation."""

from . import _environment as _environment

# isort: split
from ._api import analyse as analyse
from ._api import build as build
from ._api import compose as compose
from ._api import measure as measure
from ._api import resume as resume
from ._api import train as train
from ._api import validate as validate
from ._checks import is_concrete as is_concrete
from ._combination import AbstractCombination as AbstractCombination
from ._configuration import Configuration as Configuration
from ._design import Design as Design
from ._disorder import bond_factor as bond_factor
from ._disorder import diameter_factor as diameter_factor
from ._elasticity import (
    bulk_modulus as bulk_modulus,
)
from ._elasticity import (
    eigenmoduli as eigenmoduli,
)
from ._elasticity import (
    poisson_ratio as poisson_ratio,
)
from ._elasticity import (
    shear_modulus as shear_modulus,
)
from ._equilibrium import Equilibrium as Equilibrium
from ._equilibrium import attach_equilibrium as attach_equilibrium
from ._errors import RequestError as RequestError
from ._errors import RunError as RunError
from ._experiment import Experiment as Experiment
from ._hessian import AbstractHessian as AbstractHessian
from ._hessian import DenseHessian as DenseHessian
from ._objective import AbstractObjective as AbstractObjective
from ._objective import Term as Term
from ._potential import AbstractPairPotential as AbstractPairPotential
from ._potential import AbstractPotential as AbstractPotential
from ._property import AbstractProperty as AbstractProperty
from ._protocol import AbstractProtocol as AbstractProtocol
from ._protocol import Outcome as Outcome
from ._protocol import Prepared as Prepared
from ._sampler import AbstractSampler as AbstractSampler
from ._state import State as State
from ._system import System as System
from .hookspecs import hookimpl as hookimpl
from .neighbors import PairList as PairList

__version__ = "0.1.0"
