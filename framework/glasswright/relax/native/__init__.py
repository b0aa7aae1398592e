"""The descent of a pair potential by species in compiled loops on the CPU; Numba is imported with it."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from ...components.protocol import Outcome
from ...physics.configuration import Configuration
from ..schedule import QuenchSchedule
from ..spline_table import SplineTable
from .fire import CONVERGED, MAX_STEPS, descend

# Skins of pair lists, in units of length: the least, the first, and the widest.
SKINS = 0.15, 0.3, 0.6
OUTCOMES = {MAX_STEPS: Outcome.max_steps, CONVERGED: None}


@dataclasses.dataclass(frozen=True)
class Descent:
    """What a descent came to.

    - `configuration`: where it ended.
    - `outcome`: why it failed; None if the force is below the tolerance.
    - `evaluations`, `lists`: force evaluations and pair lists it took.
    """

    configuration: Configuration
    outcome: Outcome | None
    evaluations: int
    lists: int


def descend_natively(
    table: SplineTable, configuration: Configuration, schedule: QuenchSchedule, tolerance: float
) -> Descent:
    """FIRE to max|F| < `tolerance`, with the forces of the table.

    The same steps as those of `relax.fire`, apart from rounding and from the times at which pair lists are renewed.
    """
    box = np.array(configuration.box, dtype=float)
    inverse = np.linalg.inv(box)
    position = np.asarray(configuration.fractional) @ box.T
    if not np.all(np.isfinite(position)):
        return Descent(configuration, Outcome.nonfinite, 0, 0)
    # Particles that are near in space are near in memory.
    cells = np.floor(position / float(np.max(table.cutoff))).astype(np.int64)
    order = np.lexsort(tuple(cells.T))
    x = np.ascontiguousarray(position[order])
    wraps = np.zeros(x.shape, dtype=np.int64)
    s = schedule.fire_settings
    settings = np.array(
        [
            s.time_step_start or 0.0,
            s.time_step_max or 0.0,
            s.delay,
            s.grow,
            s.shrink,
            s.mixing_start,
            s.mixing_decay,
            s.move_cap,
        ]
    )
    end, evaluations, lists, _ = descend(
        x,
        np.asarray(configuration.species)[order].astype(np.int32),
        box,
        inverse,
        table.cutoff,
        table.table,
        table.inner,
        table.per_interval,
        settings,
        np.array(SKINS) * schedule.units.length,
        float(tolerance),
        int(schedule.max_steps),
        wraps,
    )
    fractional = np.empty_like(x)
    fractional[order] = x @ inverse.T + wraps
    moved = dataclasses.replace(configuration, fractional=jnp.asarray(fractional))
    return Descent(moved, OUTCOMES.get(end, Outcome.nonfinite), evaluations, lists)
