"""Composing objectives: a target for Poisson's ratio, a band for the pressure, a weak target for the bulk modulus."""

import json
from pathlib import Path

import glasswright as gw

# Every property in the list becomes a term with an objective and a weight of its own.
request = [
    "system.n_particles=128",
    "property=[poisson_ratio,pressure,bulk_modulus]",
    "terms.poisson_ratio.objective.target=0.4",
    "objective@terms.pressure.objective=band",
    "terms.pressure.objective.lower=0.0",
    "terms.pressure.objective.upper=0.5",
    "terms.pressure.weight=2",
    "terms.bulk_modulus.objective.target=3",
    "terms.bulk_modulus.weight=0.01",
    "train.steps=10",
]
print(gw.build(gw.compose(*request)))
result = gw.train(*request, directory="composing")

# The loss is the weighted sum of the losses of the terms.
weights = {"poisson_ratio": 1.0, "pressure": 2.0, "bulk_modulus": 0.01}
for line in map(json.loads, Path("composing/metrics.jsonl").read_text().splitlines()):
    parts = {name: weights[name] * term["loss"] for name, term in line["terms"].items()}
    assert abs(sum(parts.values()) - line["loss"]) < 1e-12
    print(line["step"], {name: f"{part:.2e}" for name, part in parts.items()})
print(result["values"])
