"""The baseline: how the method was first published, with the same tools and settings.

Zu & Goodrich, Commun. Mater. 5 (2024), doi 10.1038/s43246-024-00583-4, describe this chain: quench with
FIRE to max|F| < 1e-12, elastic constants from jax-md's `athermal_moduli`, the derivative of the minimum from
jaxopt's `custom_root` with its default solver, everything else by automatic differentiation.

Where the description leaves a choice, the authors' released program settled it: the variant of FIRE and the
order of its updates, the offset inside the force norm, and where each quench of a training step starts. That
finds every minimum twice: carrying the second one over would halve the force evaluations of a training step.
Neighbour lists are ours: all distances, and overflow is an error.
"""

import dataclasses
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import jaxopt
import numpy as np
import optax
from jax_md import elasticity, partition, smap, space
from packing import Measurement, Packing

jax.config.update("jax_enable_x64", True)

# Settings of the minimiser, as published.
INITIAL_TIME_STEP = 0.001
LARGEST_TIME_STEP = 0.1
STEPS_BEFORE_SPEEDING_UP = 5
SPEEDING_UP = 1.1
SLOWING_DOWN = 0.5
INITIAL_STEERING = 0.1
STEERING_DECAY = 0.99
FORCE_NORM_OFFSET = 1e-6
LARGEST_FORCE = 1e-12
LARGEST_NUMBER_OF_STEPS = 1_000_000

# Neighbour list: a quench of the two-dimensional reference packing takes the same time with skins of 0.15 to
# 0.6. There is room for larger diameters than a run here reaches, and overflow is an error.
SKIN = 0.3
DIAMETER_ROOM = 1.05
CAPACITY_MULTIPLIER = 1.25

META_LEARNING_RATE = 3e-3


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainingState:
    """What one training step hands to the next."""

    design: tuple[jax.Array, jax.Array]
    position: jax.Array
    rate_parameter: jax.Array
    optimizer: Any
    meta_optimizer: Any
    loss: jax.Array
    poisson_ratio: jax.Array
    force_evaluations: jax.Array


class PaperRecipe:
    """The published recipe for packings like the one given (same particles, species and box)."""

    name = "paper recipe"

    def __init__(
        self,
        packing: Packing,
        target: float,
        *,
        skin: float = SKIN,
        capacity_multiplier: float = CAPACITY_MULTIPLIER,
    ):
        self.packing = packing
        self.target = target
        self._n_species = len(packing.diameter)
        self._largest_diameter = DIAMETER_ROOM * float(np.max(packing.diameter))
        displacement, self._shift = space.periodic(packing.box_length)
        self._energy = smap.pair_neighbor_list(
            _harmonic_morse,
            space.canonicalize_displacement_or_metric(displacement),
            species=jnp.asarray(packing.species),
            ignore_unused_parameters=True,
            diameter=jnp.ones((self._n_species, self._n_species)),
            binding_energy=jnp.ones((self._n_species, self._n_species)),
            inverse_range=packing.inverse_range,
            stiffness=packing.stiffness,
        )
        self._list = partition.neighbor_list(
            displacement,
            packing.box_length,
            r_cutoff=self._largest_diameter + 9.9 / packing.inverse_range,
            dr_threshold=skin,
            capacity_multiplier=capacity_multiplier,
            # Only four cells fit along the box: all distances are as fast, and cells could overflow.
            disable_cell_list=True,
            format=partition.OrderedSparse,
        )
        # jax-md mixes 32- and 64-bit indices here; jax warns about it once a list.
        warnings.filterwarnings("ignore", "scatter inputs have incompatible types", FutureWarning)
        # Allocated at the relaxed packing, whose neighbourhoods are fuller than those of random positions.
        self._neighbors = self._list.allocate(jnp.asarray(packing.position))
        self._direction = optax.scale_by_rms(decay=0.9, eps=1e-8)
        self._meta_optimizer = optax.adam(META_LEARNING_RATE)
        self._measure = jax.jit(
            jax.value_and_grad(lambda design, start: self._poisson_ratio(design, start), has_aux=True)
        )
        self._step = jax.jit(self._training_step)

    @property
    def design(self) -> tuple[jax.Array, jax.Array]:
        """The packing's own diameters and packed binding energies."""
        return jnp.asarray(self.packing.diameter), jnp.asarray(self.packing.binding_energy)

    def known_minimum(self) -> Measurement:
        """Poisson's ratio and all derivatives at the reference packing's minimum.

        The quench is part of the call but ends at once where the positions already satisfy its threshold.
        """
        return self._measured(jnp.asarray(self.packing.position))

    def fresh_configuration(self, position: np.ndarray) -> Measurement:
        """Quench from the given positions, then Poisson's ratio and all derivatives."""
        return self._measured(jnp.asarray(position))

    def initial_training_state(self, learning_rate: float = 1e-3) -> TrainingState:
        """Start of a training run from the reference packing; the rate is `sigmoid(rate_parameter)`."""
        design = self.design
        rate_parameter = jnp.log(learning_rate / (1.0 - learning_rate))
        state = TrainingState(
            design=design,
            position=jnp.asarray(self.packing.position),
            rate_parameter=rate_parameter,
            optimizer=self._direction.init(design),
            meta_optimizer=self._meta_optimizer.init(rate_parameter),
            loss=jnp.asarray(jnp.inf),
            poisson_ratio=jnp.asarray(jnp.nan),
            force_evaluations=jnp.asarray(0),
        )
        return _strong(state)

    def training_step(self, state: TrainingState) -> TrainingState:
        """One step of the design and of its learning rate, towards the target."""
        state, overflow = self._step(state)
        self._check(overflow, np.max(state.design[0]))
        return _strong(state)

    def _measured(self, position) -> Measurement:
        (value, (minimum, max_force, evaluations, overflow)), gradient = self._measure(self.design, position)
        self._check(overflow, np.max(self.design[0]))
        return Measurement(
            poisson_ratio=float(value),
            gradient=np.concatenate([np.asarray(leaf) for leaf in gradient]),
            position=minimum,
            max_force=float(max_force),
            force_evaluations=int(evaluations),
        )

    def _check(self, overflow, largest_diameter) -> None:
        if bool(overflow):
            raise RuntimeError(
                "The neighbour list overflowed: construct PaperRecipe with a larger capacity_multiplier."
            )
        if largest_diameter > self._largest_diameter:
            raise RuntimeError(
                f"A diameter grew to {largest_diameter}, past the {self._largest_diameter} that the "
                "neighbour list was made for."
            )

    def _parameters(self, design):
        diameter, packed = design
        row, column = np.triu_indices(self._n_species)
        binding_energy = jnp.zeros((self._n_species, self._n_species))
        binding_energy = binding_energy.at[row, column].set(packed).at[column, row].set(packed)
        return {"diameter": 0.5 * (diameter[:, None] + diameter[None, :]), "binding_energy": binding_energy}

    def _force(self, position, design, neighbors):
        return -jax.grad(self._energy)(position, neighbors, **self._parameters(design))

    def _relaxed(self, design, start):
        """Minimum near `start`, with the derivative of jaxopt's default solver: CG, normal equations."""

        def residual(position, design):
            neighbors = self._neighbors.update(jax.lax.stop_gradient(position))
            return self._force(position, design, neighbors)

        @jaxopt.implicit_diff.custom_root(residual, has_aux=True)
        def solve(start, design):
            position, force, neighbors, evaluations = self._quench(start, design)
            return position, (jnp.max(jnp.abs(force)), evaluations, _overflowed(neighbors))

        return solve(start, design)

    def _quench(self, start, design):
        """FIRE as in Guénolé et al., Comput. Mater. Sci. 175, 109584 (2020), by semi-implicit Euler."""
        neighbors = self._neighbors.update(start)
        force = self._force(start, design, neighbors)

        def unfinished(carry):
            _, _, force, _, _, _, neighbors, evaluations = carry
            small = jnp.max(jnp.abs(force)) <= LARGEST_FORCE
            return ~small & ~_overflowed(neighbors) & (evaluations < LARGEST_NUMBER_OF_STEPS)

        def advance(carry):
            position, velocity, force, time_step, steering, downhill, neighbors, evaluations = carry
            power = jnp.sum(force * velocity)
            downhill = jnp.where(power > 0, downhill + 1, 0)
            speeding_up = (power > 0) & (downhill > STEPS_BEFORE_SPEEDING_UP)
            uphill = power < 0
            time_step = jnp.where(
                speeding_up,
                jnp.minimum(time_step * SPEEDING_UP, LARGEST_TIME_STEP),
                jnp.where(uphill, time_step * SLOWING_DOWN, time_step),
            )
            steering = jnp.where(speeding_up, steering * STEERING_DECAY, jnp.where(uphill, INITIAL_STEERING, steering))
            # Going uphill: half a step back, and start again from rest.
            back = jnp.where(uphill, -0.5 * time_step, 0.0) * velocity
            velocity = jnp.where(uphill, 0.0, velocity) + time_step * force
            # The offset in the norm is the published one; it switches the steering off below |F| = 1e-3.
            force_norm = jnp.sqrt(jnp.sum(force**2) + FORCE_NORM_OFFSET)
            speed = jnp.sqrt(jnp.sum(velocity**2))
            velocity = (1.0 - steering) * velocity + steering * speed / force_norm * force
            position = self._shift(position, back + time_step * velocity)
            neighbors = neighbors.update(position)
            force = self._force(position, design, neighbors)
            return position, velocity, force, time_step, steering, downhill, neighbors, evaluations + 1

        start_of_loop = (
            start,
            jnp.zeros_like(start),
            force,
            jnp.asarray(INITIAL_TIME_STEP),
            jnp.asarray(INITIAL_STEERING),
            jnp.asarray(0),
            neighbors,
            jnp.asarray(1),
        )
        end = jax.lax.while_loop(unfinished, advance, start_of_loop)
        return end[0], end[2], end[6], end[7]

    def _poisson_ratio(self, design, start):
        position, (max_force, evaluations, overflow) = self._relaxed(design, start)
        neighbors = self._neighbors.update(jax.lax.stop_gradient(position))
        box = self.packing.box_length * jnp.eye(self.packing.dimension)
        moduli = elasticity.athermal_moduli(self._energy)
        tensor = moduli(position, box, neighbor=neighbors, **self._parameters(design))
        return _poisson_ratio(tensor), (
            position,
            max_force,
            evaluations,
            overflow | neighbors.did_buffer_overflow,
        )

    def _training_step(self, state: TrainingState):
        """Two values with gradient, as published: one for the design, one for the learning rate.

        Both quenches start where the published ones do: the first from the minimum of the previous step's
        first evaluation, the second from the minimum that the first one has just found.
        """

        def loss(design, start):
            value, (position, _, evaluations, overflow) = self._poisson_ratio(design, start)
            return (value - self.target) ** 2, (value, position, evaluations, overflow)

        (_, (_, position, first, overflow)), gradient = jax.value_and_grad(loss, has_aux=True)(
            state.design, state.position
        )
        direction, optimizer = self._direction.update(gradient, state.optimizer)

        def loss_after(rate_parameter):
            rate = jax.nn.sigmoid(rate_parameter)
            design = jax.tree.map(lambda leaf, along: leaf - rate * along, state.design, direction)
            after, (value, _, evaluations, overflow) = loss(design, position)
            return after, (design, value, evaluations, overflow)

        (after, (design, value, second, overflow_after)), hypergradient = jax.value_and_grad(loss_after, has_aux=True)(
            state.rate_parameter
        )
        update, meta_optimizer = self._meta_optimizer.update(hypergradient, state.meta_optimizer)
        # Published and kept: binding energies do not become negative.
        design = (design[0], jnp.maximum(design[1], 0.0))
        new = TrainingState(
            design=design,
            position=position,
            rate_parameter=state.rate_parameter + update,
            optimizer=optimizer,
            meta_optimizer=meta_optimizer,
            loss=after,
            poisson_ratio=value,
            force_evaluations=first + second,
        )
        return new, overflow | overflow_after


def _strong(state):
    # A weakly typed number in the first state would make the second step compile again, at twenty seconds.
    return jax.tree.map(np.asarray, state)


def _overflowed(neighbors):
    # jax-md returns an integer here.
    return neighbors.did_buffer_overflow != 0


def _harmonic_morse(distance, diameter, binding_energy, inverse_range, stiffness, **_):
    """Harmonic inside contact, Morse outside, smoothed to zero at `diameter + 9.9 / inverse_range`."""
    onset = diameter + 5.0 / inverse_range
    cutoff = diameter + 9.9 / inverse_range
    overlap = distance - diameter
    decay = jnp.exp(-inverse_range * overlap)
    smoothing = (
        (cutoff**2 - distance**2) ** 2 * (cutoff**2 + 2.0 * distance**2 - 3.0 * onset**2) / (cutoff**2 - onset**2) ** 3
    )
    smoothing = jnp.where(distance < onset, 1.0, jnp.where(distance < cutoff, smoothing, 0.0))
    repulsion = 0.5 * stiffness * overlap**2 - binding_energy
    attraction = binding_energy * (decay**2 - 2.0 * decay) * smoothing
    return jnp.where(distance < diameter, repulsion, attraction)


def _poisson_ratio(tensor):
    """Isotropic Poisson's ratio, with the angular averages that are right for an anisotropic sample."""
    dimension = tensor.shape[0]
    normal = jnp.einsum("iijj->ij", tensor)
    shear = jnp.einsum("ijij->ij", tensor)
    if dimension == 2:
        bulk = jnp.sum(normal) / 4.0
        shear_modulus = (4.0 * shear[0, 1] + normal[0, 0] + normal[1, 1] - 2.0 * normal[0, 1]) / 8.0
        return (bulk - shear_modulus) / (bulk + shear_modulus)
    bulk = jnp.sum(normal) / 9.0
    off_diagonal = np.triu_indices(3, 1)
    shear_modulus = (jnp.trace(normal) - jnp.sum(normal[off_diagonal]) + 3.0 * jnp.sum(shear[off_diagonal])) / 15.0
    return (3.0 * bulk - 2.0 * shear_modulus) / (2.0 * (3.0 * bulk + shear_modulus))
