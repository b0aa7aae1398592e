"""Writing a property: the pressure over the bulk modulus, which measures how far a solid is compressed."""

import glasswright as gw
import jax
import jax.numpy as jnp
from glasswright.testing import check_property


class Compression(gw.AbstractProperty):
    """Pressure over bulk modulus, `p / K`: to first order, the volume strain that would remove the pressure."""

    requires = gw.Equilibrium
    units = "dimensionless"
    source = "definition"

    def measure(self, state):
        pressure = -jnp.trace(state.stress) / state.configuration.dimension
        return pressure / gw.bulk_modulus(state.elastic_tensor)


# Prepare one packing; compute the value and its derivative with respect to every diameter.
experiment = gw.build(gw.compose("system.n_particles=128", "train.steps=5"))
potential, protocol = experiment.potential, experiment.protocol
prepared = protocol.prepare(potential, experiment.system.start(jax.random.key(0)), key=jax.random.key(1))


def value(potential):
    return Compression().measure(protocol.attach(potential, prepared))


print("p/K =", value(potential))
print("derivative with respect to the diameters:", jax.grad(value)(potential).diameter)

# Check it: derivatives against central differences of the packing prepared again, invariances, and so on.
check_property(Compression(), dimensions=(2,))

# Train it. The class of the objective is taken from a built-in term.
target = type(experiment.terms["poisson_ratio"].objective)(target=0.1)
terms = {"compression": gw.Term(property=Compression(), objective=target)}
trained = gw.Experiment(
    potential, experiment.system, protocol, experiment.sampler, terms, experiment.design, experiment.optimizer, steps=5
)
print(gw.train(trained)["values"])
# To use it on the command line, put it into a package: `glasswright plugins new compression`.
