"""The schedule of a quench, the same for one packing (`search`) and for many side by side (`batch`).

FIRE descends to the hand-over force, and Newton's steps finish. Where they lose the minimum, FIRE descends to a
hundredth of that force before Newton tries again, until FIRE itself has reached the force tolerance. A point that is
force-free by then and no minimum is a saddle, which is left along its softest mode.
"""

import dataclasses
from typing import Literal

from ..physics.units import PAPER_UNITS, Units
from .fire import PAPER_SETTINGS, FireSettings
from .newton import MOVE_CAP
from .push_apart import LONGEST_MOVE

# Newton near a minimum needs one to three factors; more mean that it is not near one.
MAX_FACTORS = 12
# How often a search may come to rest on a saddle before it is given up.
MAX_SADDLES = 8
# Length of the step that leaves a saddle, of the particle that moves most, in units of length.
SADDLE_STEP = 1e-2
# Rounds of pushing particles apart, each with a pair list of its own, and steps in each round.
MAX_PUSHES = 200
# Most steps of pushing apart for each descent of a batch, whose rounds are as many as its pair lists.
MAX_PUSHES_IN_BATCH = 5 * MAX_PUSHES
# Pair lists of descents reach up to this many skins beyond the cutoff where their capacity has room. Making one from
# all distances costs several force evaluations, so that they should last: in two dimensions, twice the skin needs half
# as many, and holds a fifth more pairs (N = 368: a dozen for a quench of 430 evaluations).
WIDEST_SKIN = 2.0
# Factor between the forces at which Newton takes over, from one attempt to the next.
REDUCTION = 0.01


@dataclasses.dataclass(frozen=True)
class QuenchSchedule:
    """The tolerances and limits of a quench, in units of length and of force.

    Those units are the user's own, unless `scaled` has put the potential's in their place.

    **Arguments:**

    - `force_tolerance`: largest force component of a minimum.
    - `hand_over`: largest force component at which Newton first takes over.
    - `max_steps`: most force evaluations of one descent.
    - `skin`: least width beyond the cutoff of pair lists.
    - `method`: `newton` (FIRE, then Newton) or `fire` (the paper's FIRE all the way).
    - `units`: what all other constants of a quench are in.
    """

    force_tolerance: float
    hand_over: float
    max_steps: int
    skin: float
    method: Literal["newton", "fire"] = "newton"
    units: Units = PAPER_UNITS

    def scaled(self, units: Units) -> "QuenchSchedule":
        """The schedule in the user's units, from one in the `units` of the potential and the packing."""
        return dataclasses.replace(
            self,
            force_tolerance=self.force_tolerance * units.force,
            hand_over=self.hand_over * units.force,
            skin=self.skin * units.length,
            units=units,
        )

    @property
    def fire_settings(self) -> FireSettings:
        """The constants of the descents."""
        settings = PAPER_SETTINGS if self.method == "fire" else FireSettings()
        return settings.scaled(self.units)

    @property
    def move_cap(self) -> float:
        """Longest move of a particle in a step of Newton's method."""
        return MOVE_CAP * self.units.length

    @property
    def longest_push(self) -> float:
        """Longest move of a particle in a step of pushing particles apart."""
        return LONGEST_MOVE * self.units.length

    @property
    def saddle_step(self) -> float:
        """Length of the step that leaves a saddle, of the particle that moves most."""
        return SADDLE_STEP * self.units.length

    def next_hand_over(self, reached: float) -> float | None:
        """The force to descend to after Newton failed at the force `reached`; None if that was the tolerance."""
        if reached <= self.force_tolerance:
            return None
        return max(REDUCTION * reached, self.force_tolerance)
