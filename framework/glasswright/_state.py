import equinox as eqx

from ._configuration import Configuration
from ._potential import AbstractPotential


class State(eqx.Module):
    """What a protocol gives and a property reads: a configuration and its interactions, both carrying derivatives.

    **Attributes:**

    - `potential`: the interactions, differentiable in the design variables.
    - `configuration`: the prepared configuration as a differentiable function of the design variables.
    """

    potential: eqx.AbstractVar[AbstractPotential]
    configuration: eqx.AbstractVar[Configuration]
