"""The jobs of a sweep, before Hydra composes them."""

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf

from .._types import Setting
from .loader import jobs_of_sweep

# Jobs of a sweep that are checked before any runs.
MOST_CHECKED_JOBS = 100


def jobs(overall: DictConfig, overrides: list[str]) -> list[list[str]]:
    """The overrides of every job of a sweep; for sweepers other than Hydra's own, of one job that stands for all.

    **Arguments:**

    - `overall`: the configuration of the sweep as a whole.
    - `overrides`: those of the command line.
    """
    parser = OverridesParser.create()
    parsed = parser.parse_overrides(overrides)
    sweeper = overall.hydra.sweeper
    parameters: Setting = OmegaConf.to_container(sweeper.params) if sweeper.get("params") else {}
    configured = parser.parse_overrides([f"{key}={value}" for key, value in (parameters or {}).items()])
    given = {override.get_key_element() for override in parsed}
    parsed += [override for override in configured if override.get_key_element() not in given]
    own = [override for override in parsed if not override.is_hydra_override()]
    of_hydra = [str(o.input_line) for o in parsed if o.is_hydra_override() and o.key_or_group != "hydra.mode"]
    if is_basic_sweeper(sweeper):
        combinations = jobs_of_sweep(own)[:MOST_CHECKED_JOBS]
    else:
        combinations = [[_representative(override) for override in own]]
    return [[*of_hydra, *job] for job in combinations]


def is_basic_sweeper(sweeper: DictConfig) -> bool:
    """Whether a node of `hydra.sweeper` is that of Hydra's own sweeper, which runs all combinations."""
    return str(sweeper.get("_target_", "")).endswith("BasicSweeper")


def n_directions(sweeper: DictConfig) -> int:
    """How many numbers of each job a sweeper wants: one, or as many as it has directions (Optuna)."""
    direction = sweeper.get("direction")
    return len(direction) if OmegaConf.is_list(direction) else 1


def _representative(override: Override) -> str:
    """An override with one value in the place of those that are swept over."""
    if not override.is_sweep_override():
        return str(override.input_line)
    key = override.get_key_element()
    if override.is_discrete_sweep():
        return f"{key}={next(iter(override.sweep_string_iterator()))}"
    value = override.value()
    assert isinstance(value, RangeSweep | IntervalSweep)
    return f"{key}={value.start}"
