"""First training: give one packing a Poisson's ratio of 0.3, and measure the same design on other packings."""

import glasswright as gw

# The overrides are those of `glasswright train`. The preset `single_poisson` sets everything else.
result = gw.train(
    "system.n_particles=128",
    "terms.poisson_ratio.objective.target=0.3",
    "train.steps=30",
    "train.tolerance=1e-5",
    directory="first_training",
)
print(f"after {result['steps']} steps the loss is {result['loss']:.2e}, target reached: {result['success']}")
print("Poisson's ratio:", result["values"]["poisson_ratio"])
print("diameters:", result["design"]["diameter"])

# One packing was trained. Measure the same design on packings that it has never seen.
report = gw.validate("run=first_training", "n_configurations=4", "n_untrained=0")
poisson_ratio = report["properties"]["poisson_ratio"]
print(f"on {report['converged']} fresh packings: {poisson_ratio['mean']:.3f} +- {poisson_ratio['standard_error']:.3f}")
assert report["requested"] == report["converged"] + sum(report["rejected"].values())
