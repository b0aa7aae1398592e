from .._hessian import DenseHessian as DenseHessian, factor_hessian as factor_hessian
from .fire import (
    PAPER_SETTINGS as PAPER_SETTINGS,
    FireSettings as FireSettings,
    FireState as FireState,
    fire as fire,
    fire_start as fire_start,
)
from .newton import NewtonEnd as NewtonEnd, newton as newton
