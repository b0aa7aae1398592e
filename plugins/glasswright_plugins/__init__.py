"""The catalogue: which built-in component has which name. Hook implementations only."""

import glasswright as gw

from .objectives.band import Band
from .objectives.target import Target
from .objectives.target_each import TargetEach
from .optimizers.hypergradient import hypergradient
from .optimizers.optax_optimizers import OPTIMIZERS
from .optimizers.polyak import polyak
from .potentials.harmonic_morse import HarmonicMorse
from .properties.bulk_modulus import BulkModulus
from .properties.elastic_tensor import ElasticTensor
from .properties.poisson_ratio import PoissonRatio
from .properties.pressure import Pressure
from .properties.shear_modulus import ShearModulus
from .protocols.quench import Quench
from .samplers.fresh import Fresh
from .samplers.tracked import Tracked

GLASSWRIGHT_API_VERSION = 1


@gw.hookimpl
def register_potentials(register):
    register("harmonic_morse", HarmonicMorse)


@gw.hookimpl
def register_protocols(register):
    register("quench", Quench)


@gw.hookimpl
def register_samplers(register):
    register("fresh", Fresh)
    register("tracked", Tracked)


@gw.hookimpl
def register_properties(register):
    register("bulk_modulus", BulkModulus)
    register("elastic_tensor", ElasticTensor)
    register("poisson_ratio", PoissonRatio)
    register("pressure", Pressure)
    register("shear_modulus", ShearModulus)


@gw.hookimpl
def register_objectives(register):
    register("band", Band)
    register("target", Target)
    register("target_each", TargetEach)


@gw.hookimpl
def register_optimizers(register):
    for name, function in OPTIMIZERS.items():
        register(name, function, learning_rate=1e-3)
    # The inner optimizer gives a direction only: the rate is the outer one's.
    for name, function in (("hypergradient", hypergradient), ("polyak", polyak)):
        register(name, function, optimizer="rmsprop", **{"optimizer.learning_rate": 1.0})
