"""Reading a run directory: metrics, result, configuration and packing are plain JSON, YAML and extended XYZ."""

import json
from pathlib import Path

import glasswright as gw
import yaml

run = Path("reading_a_run")
gw.train("system.n_particles=128", "train.steps=5", directory=run)
print(sorted(path.name for path in run.iterdir()))

# A line for each step.
lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
print("loss by step:", [f"{line['loss']:.2e}" for line in lines])
for line in lines:
    assert line["requested"] == line["converged"] + sum(line["rejected"].values())

# The result: how the run ended, and every number needed to build the potential again.
result = json.loads((run / "result.json").read_text())
print("success:", result["success"], "design:", result["design"])

# The resolved configuration describes the whole experiment.
experiment = gw.build(yaml.safe_load((run / "config.yaml").read_text()))
potential = type(experiment.potential)(**result["design"])
print(potential)

# The final packing, measured again, has the value that the run reported: the file carries the trained potential.
report = gw.measure(f"configuration={run / 'final.extxyz'}", "property=[poisson_ratio]")
print(report["properties"]["poisson_ratio"]["value"], result["values"]["poisson_ratio"])
assert abs(report["properties"]["poisson_ratio"]["value"] - result["values"]["poisson_ratio"]) < 1e-6
