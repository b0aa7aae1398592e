from .._hessian import DenseHessian as DenseHessian
from .._hessian import factor_hessian as factor_hessian
from .._hessian import factor_pinning_zero_modes as factor_pinning_zero_modes
from .._jit import fast_jit as fast_jit
from .fire import (
    PAPER_SETTINGS as PAPER_SETTINGS,
)
from .fire import (
    FireSettings as FireSettings,
)
from .fire import (
    FireState as FireState,
)
from .fire import (
    fire as fire,
)
from .fire import (
    fire_start as fire_start,
)
from .newton import NewtonEnd as NewtonEnd
from .newton import newton_steps as newton_steps
from .push_apart import push_apart as push_apart
from .saddle import leave_saddle as leave_saddle
