"""Minimisers: a toolbox for protocols. Nothing else in the engine uses it."""

from .._jax import fast_jit as fast_jit
from ..physics.configuration import box_width as box_width
from ..physics.enthalpy import box_response as box_response
from ..physics.enthalpy import box_strains as box_strains
from ..physics.hessian import DenseHessian as DenseHessian
from ..physics.hessian import factor_hessian as factor_hessian
from ..physics.hessian import factor_pinning_zero_modes as factor_pinning_zero_modes
from ..physics.units import Units as Units
from ..physics.units import natural_units as natural_units
from .batch import Relaxation as Relaxation
from .enthalpy import Enthalpy as Enthalpy
from .enthalpy import extended as extended
from .fire import PAPER_SETTINGS as PAPER_SETTINGS
from .fire import FireSettings as FireSettings
from .fire import FireState as FireState
from .fire import fire as fire
from .fire import fire_start as fire_start
from .newton import NewtonEnd as NewtonEnd
from .newton import newton_steps as newton_steps
from .push_apart import push_apart as push_apart
from .saddle import leave_along as leave_along
from .saddle import leave_saddle as leave_saddle
from .schedule import QuenchSchedule as QuenchSchedule
from .search import HessianKind as HessianKind
from .search import Search as Search
