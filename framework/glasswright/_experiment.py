import dataclasses
from typing import Any

import optax

from ._objective import Term
from ._potential import AbstractPotential
from ._protocol import AbstractProtocol
from ._sampler import AbstractSampler
from ._system import System


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything a training run is made of: built from a configuration by `config.build`, or by hand.

    **Arguments:**

    - `design`: path of a parameter (`"potential.diameter"`, or `"diameter"` while that is unique) → its bounds.
    - `steps`: most training steps.
    - `tolerance`: stop when the loss is below it (populations only); zero never stops.
    - `seed`: seed of all randomness; configuration `i` of the run is drawn from it and `i`.
    - `checkpoint_interval`: steps between checkpoints.
    - `config`: the resolved configuration this was built from, kept with the results.
    """

    potential: AbstractPotential
    system: System
    protocol: AbstractProtocol
    sampler: AbstractSampler
    terms: dict[str, Term]
    design: dict[str, tuple[float, float]]
    optimizer: optax.GradientTransformation
    steps: int = 1000
    tolerance: float = 1e-6
    seed: int = 0
    checkpoint_interval: int = 100
    config: Any = None
