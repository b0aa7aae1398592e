"""The catalogue: the names of all built-in components. Hook implementations only."""

import glasswright as gw
from glasswright.hookspecs import Register

from .combinations.normalized import Normalized
from .combinations.pcgrad import PCGrad
from .combinations.weighted_sum import WeightedSum
from .executors.dask import Dask
from .executors.local import Local
from .objectives.band import Band
from .objectives.curve import Curve
from .objectives.maximize import Maximize
from .objectives.minimize import Minimize
from .objectives.ratio import Ratio as RatioOfMeans
from .objectives.target import Target
from .objectives.target_each import TargetEach
from .optimizers.hypergradient import hypergradient
from .optimizers.optax_optimizers import OPTIMIZERS
from .optimizers.polyak import polyak
from .potentials.harmonic_morse import HarmonicMorse
from .potentials.harmonic_spring_network import HarmonicSpringNetwork
from .potentials.inverse_power import InversePower
from .potentials.jax_md import JaxMD
from .potentials.lennard_jones import LennardJones
from .potentials.morse import Morse
from .potentials.soft_sphere import SoftSphere
from .potentials.sum import Sum
from .potentials.tabulated import Tabulated
from .potentials.yukawa import Yukawa
from .properties.allosteric_response import AllostericResponse
from .properties.anisotropy import Anisotropy
from .properties.bond_contributions import BondContributions
from .properties.bond_order import BondOrder
from .properties.box_shape import BoxShape
from .properties.bulk_modulus import BulkModulus
from .properties.coordination import Coordination
from .properties.density import Density
from .properties.density_of_states import DensityOfStates
from .properties.elastic_constant import ElasticConstant
from .properties.elastic_tensor import ElasticTensor
from .properties.energy_per_particle import EnergyPerParticle
from .properties.flow_stress import FlowStress
from .properties.nonaffine_displacement import NonaffineDisplacement
from .properties.pair import Pair
from .properties.pair_correlation import PairCorrelation
from .properties.participation_ratio import ParticipationRatio
from .properties.poisson_ratio import PoissonRatio
from .properties.pressure import Pressure
from .properties.ratio import Ratio
from .properties.shear_dissipation import ShearDissipation
from .properties.shear_modulus import ShearModulus
from .properties.stability import Stability
from .properties.stress_strain import StressStrain
from .properties.structure_factor import StructureFactor
from .properties.toughness import Toughness
from .properties.yield_strain import YieldStrain
from .properties.young_modulus import YoungModulus
from .protocols.quench import Quench
from .protocols.shear import Shear
from .samplers.fresh import Fresh
from .samplers.tracked import Tracked
from .studies.zu2024_1c import Zu2024Fig1c
from .studies.zu2024_1d import Zu2024Fig1d
from .studies.zu2024_3ab import Zu2024Fig3ab
from .studies.zu2024_figure_1 import Zu2024Fig1e, Zu2024Fig1f, Zu2024FigS3S4
from .studies.zu2024_figure_2 import Zu2024Fig2
from .studies.zu2024_figure_3 import Zu2024Fig3c, Zu2024Fig3d
from .studies.zu2024_figure_4 import Zu2024Fig4a, Zu2024Fig4b, Zu2024Fig4c, Zu2024Fig4d
from .studies.zu2024_figure_5 import Zu2024Fig5a, Zu2024Fig5b
from .studies.zu2024_figure_6 import Zu2024Fig6a, Zu2024Fig6b
from .studies.zu2024_supplement import Zu2024FigS1, Zu2024FigS8, Zu2024NoteH
from .systems.file import FileSystem
from .trackers.csv import CSV
from .trackers.mlflow import MLflow
from .trackers.tensorboard import TensorBoard
from .trackers.wandb import WandB
from .treatments.anneal import Anneal
from .treatments.compress import Compress
from .treatments.cyclic_shear import CyclicShear
from .treatments.swap import Swap

GLASSWRIGHT_API_VERSION = 1


@gw.hookimpl
def register_potentials(register: Register) -> None:
    register("harmonic_morse", HarmonicMorse)
    register("harmonic_spring_network", HarmonicSpringNetwork)
    register("inverse_power", InversePower)
    register("jax_md", JaxMD)
    register("lennard_jones", LennardJones)
    register("morse", Morse)
    register("soft_sphere", SoftSphere)
    register("sum", Sum)
    register("tabulated", Tabulated)
    register("yukawa", Yukawa)


@gw.hookimpl
def register_systems(register: Register) -> None:
    register("file", FileSystem)
    register("random", gw.System)


@gw.hookimpl
def register_protocols(register: Register) -> None:
    register("quench", Quench)
    register("shear", Shear, preparation="quench")


@gw.hookimpl
def register_treatments(register: Register) -> None:
    register("anneal", Anneal)
    register("compress", Compress)
    register("cyclic_shear", CyclicShear)
    register("swap", Swap)


@gw.hookimpl
def register_samplers(register: Register) -> None:
    register("fresh", Fresh)
    register("tracked", Tracked)


@gw.hookimpl
def register_properties(register: Register) -> None:
    register("bulk_modulus", BulkModulus)
    register("allosteric_response", AllostericResponse)
    register("anisotropy", Anisotropy)
    register("bond_contributions", BondContributions)
    register("bond_order", BondOrder)
    register("box_shape", BoxShape)
    register("coordination", Coordination)
    register("density", Density)
    register("density_of_states", DensityOfStates)
    register("elastic_constant", ElasticConstant)
    register("energy_per_particle", EnergyPerParticle)
    register("nonaffine_displacement", NonaffineDisplacement)
    register("pair", Pair, first="shear_modulus", second="bulk_modulus")
    register("pair_correlation", PairCorrelation)
    register("ratio", Ratio, numerator="shear_modulus", denominator="bulk_modulus")
    register("participation_ratio", ParticipationRatio)
    register("stability", Stability)
    register("structure_factor", StructureFactor)
    register("young_modulus", YoungModulus)
    register("q8", BondOrder, symmetry=8)
    register("elastic_tensor", ElasticTensor)
    register("poisson_ratio", PoissonRatio)
    register("pressure", Pressure)
    register("shear_modulus", ShearModulus)
    register("flow_stress", FlowStress)
    register("shear_dissipation", ShearDissipation)
    register("stress_strain", StressStrain)
    register("toughness", Toughness)
    register("yield_strain", YieldStrain)


@gw.hookimpl
def register_objectives(register: Register) -> None:
    register("band", Band)
    register("curve", Curve)
    register("maximize", Maximize)
    register("minimize", Minimize)
    register("ratio", RatioOfMeans)
    register("target", Target)
    register("target_each", TargetEach)


@gw.hookimpl
def register_combinations(register: Register) -> None:
    register("normalized", Normalized)
    register("pcgrad", PCGrad)
    register("weighted_sum", WeightedSum)


@gw.hookimpl
def register_optimizers(register: Register) -> None:
    for name, function in OPTIMIZERS.items():
        register(name, function, learning_rate=1e-3)
    # The wrapped optimizer gives a direction, the wrapping one the rate.
    for name, function in (("hypergradient", hypergradient), ("polyak", polyak)):
        register(name, function, optimizer="rmsprop", **{"optimizer.learning_rate": 1.0})


@gw.hookimpl
def register_studies(register: Register) -> None:
    register("zu2024_1c", Zu2024Fig1c)
    register("zu2024_1d", Zu2024Fig1d)
    register("zu2024_1e", Zu2024Fig1e)
    register("zu2024_1f", Zu2024Fig1f)
    register("zu2024_2", Zu2024Fig2)
    register("zu2024_3ab", Zu2024Fig3ab)
    register("zu2024_3c", Zu2024Fig3c)
    register("zu2024_3d", Zu2024Fig3d)
    register("zu2024_4a", Zu2024Fig4a)
    register("zu2024_4b", Zu2024Fig4b)
    register("zu2024_4c", Zu2024Fig4c)
    register("zu2024_4d", Zu2024Fig4d)
    register("zu2024_5a", Zu2024Fig5a)
    register("zu2024_5b", Zu2024Fig5b)
    register("zu2024_6a", Zu2024Fig6a)
    register("zu2024_6b", Zu2024Fig6b)
    register("zu2024_s1", Zu2024FigS1)
    register("zu2024_s3s4", Zu2024FigS3S4)
    register("zu2024_s8", Zu2024FigS8)
    register("zu2024_sh", Zu2024NoteH)


@gw.hookimpl
def register_executors(register: Register) -> None:
    register("dask", Dask)
    register("local", Local)


@gw.hookimpl
def register_trackers(register: Register) -> None:
    register("csv", CSV)
    register("mlflow", MLflow)
    register("tensorboard", TensorBoard)
    register("wandb", WandB)
