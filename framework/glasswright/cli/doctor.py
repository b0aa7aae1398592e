"""`glasswright doctor`: whether this installation computes what it should, and what it consists of."""

import importlib.metadata
import json
import platform
import sys

from .._types import JSON
from .parser import Parser

DISTRIBUTIONS = (
    "jax",
    "jaxlib",
    "equinox",
    "optax",
    "jaxtyping",
    "hydra-core",
    "omegaconf",
    "pluggy",
    "jaxopt",
    "jax-md",
)
# Releases known to compute wrong numbers, whatever the probes say on this machine.
BROKEN_JAX = {
    "0.7.0": "wrong results were reported for it",
    "0.7.1": "wrong results were reported for it",
    "0.10.2": "compiles fused reductions on CPUs wrongly (jax-ml/jax issue 39103)",
    "0.11.0": "crashes in reductions on CPUs (jax-ml/jax issue 39257), wrong results on some GPUs (40633)",
    "0.11.1": "gives wrong results on some GPUs (jax-ml/jax issue 40633)",
}


def main(arguments: list[str]) -> int:
    """Print the examination; exit code 1 if anything is wrong."""
    parser = Parser(prog="glasswright doctor", description="Whether this installation computes what it should.")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    given = parser.parse_args(arguments)
    report = examine()
    if given.json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    return 0 if report["healthy"] else 1


def examine() -> dict[str, JSON]:
    """Everything the doctor looks at, as plain data; `problems` says in words what is wrong."""
    import glasswright

    from .._compiled import kept
    from ..config.loader import hydra_plugins
    from ..registry.registry import registry
    from .probes import probes

    report: dict[str, JSON] = {
        "versions": {
            "python": platform.python_version(),
            "glasswright": glasswright.__version__,
            **_versions(),
        },
        "devices": [],
        "x64": False,
        "compiled": None,
        "plugins": {},
        "hydra": {},
        "probes": {},
    }
    problems: list[str] = []
    for name in ("jax", "jaxlib"):
        version = report["versions"][name] or ""
        if version in BROKEN_JAX:
            problems.append(f"{name} {version}: {BROKEN_JAX[version]}; install another version")
    try:
        import jax

        report["devices"] = [str(device) for device in jax.devices()]
        report["x64"] = jax.numpy.zeros(()).dtype == jax.numpy.float64
    except Exception as error:  # a driver that does not fit, for instance
        problems.append(f"jax finds no device: {error}")
    if not report["x64"]:
        problems.append("64-bit numbers are off: something has set jax_enable_x64 after glasswright was imported")
    folder = kept()
    if folder:
        report["compiled"] = {"folder": str(folder[0]), "programs": folder[1], "bytes": folder[2]}
    for plugin in registry().plugins:
        report["plugins"][plugin.entry_point] = plugin.status
        if plugin.status == "failed":
            problems.append(f"{plugin.label}: {plugin.error}")
        if plugin.side_effect:
            problems.append(f"{plugin.label}: {plugin.side_effect}")
    try:
        report["hydra"] = hydra_plugins()
    except Exception as error:  # one broken module among Hydra's plugins stops Hydra
        problems.append(f"Hydra cannot load its plugins: {type(error).__name__}: {error}")
    for name, probe in probes().items():
        try:
            complaint = probe()
        except Exception as error:
            complaint = f"{type(error).__name__}: {error}"
        report["probes"][name] = complaint or "correct"
        if complaint:
            problems.append(f"{name}: {complaint}")
    report["problems"] = problems
    report["healthy"] = not problems
    return report


def _versions() -> dict[str, str | None]:
    """Installed versions, without importing anything (jax-md alone would take ten seconds)."""
    versions: dict[str, str | None] = {}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _print(report: dict[str, JSON]) -> None:
    for name, version in report["versions"].items():
        print(f"{name:12} {version or '-'}")
    print(f"{'devices':12} {', '.join(report['devices']) or '-'}")
    print(f"{'64-bit':12} {'on' if report['x64'] else 'off'}")
    compiled = report["compiled"]
    if compiled:
        compiled = f"{compiled['programs']} programs, {compiled['bytes'] / 2**20:.1f} MB, in {compiled['folder']}"
    print(f"{'compiled':12} {compiled or '-'}")
    for kind in ("plugins", "hydra", "probes"):
        for name, state in report[kind].items():
            text = ", ".join(state) if isinstance(state, list) else state
            print(f"{kind.removesuffix('s'):12} {name}: {text}")
    for problem in report["problems"]:
        print(f"problem: {problem}", file=sys.stderr)
    print("healthy" if report["healthy"] else f"{len(report['problems'])} problem(s)")
