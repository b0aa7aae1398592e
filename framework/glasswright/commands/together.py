"""What the processes of one run compare with each other before they begin."""

import hashlib
import re

import jax
import numpy as np
import yaml

from .._types import Setting
from ..config.data import Config, resolved
from ..execution.agreement import check_same_request
from ..execution.peers import AbstractPeers
from ..run.provenance import plugins, versions

# What may differ between hosts: no result depends on it.
MAY_DIFFER = ("devices", "chunk_size")


def check_together(
    peers: AbstractPeers, command: str, request: object, config: Config | None = None, **further: object
) -> None:
    """Refuse, in every process, a request that is not the same in all processes of the run.

    **Arguments:**

    - `command`: its name.
    - `request`: what `Command.build` has made.
    - `config`: what that was made from, for a request that does not keep it.
    - `further`: anything else that must be the same.
    """
    if peers.count == 1:
        return
    packages = versions()
    # Only its libraries compute.
    del packages["python"]
    check_same_request(
        peers,
        {
            "command": command,
            **{name: value for name, value in further.items() if value is not None},
            **{name: value for name, value in _keys(request, config).items() if name not in MAY_DIFFER},
            **({} if config is None else _hydra_overrides(config)),
            "version": packages,
            "plugin": {record["entry_point"]: f"{record['version']} ({record['status']})" for record in plugins()},
            "platform": jax.default_backend(),
        },
    )
    # Last: whatever differs above may differ here too.
    check_same_request(peers, {"contents of files": _digest(request)})


def _hydra_overrides(config: Config) -> dict[str, str]:
    """Overrides of `hydra.*` as they were given: its values differ by the time of day."""
    hydra = config.get("hydra")
    given = [] if hydra is None else list(hydra.overrides.hydra)
    return {key: value for key, _, value in (str(override).partition("=") for override in given)}


def _keys(request: object, config: Config | None) -> dict[str, Setting]:
    """What was asked for, by key; or by field, for a request that no configuration describes."""
    kept = getattr(request, "config", None)
    if isinstance(kept, str):
        keys: dict[str, Setting] = yaml.safe_load(kept)
        return keys
    if config is not None:
        return resolved(config)
    # Without the addresses of functions, which differ between processes.
    return {name: re.sub(r" at 0x\w+", "", repr(value)) for name, value in vars(request).items()}


def _digest(request: object) -> str:
    """Eight letters that stand for all arrays of a request: those of files are in no configuration."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(dict(sorted(vars(request).items()))):
        if isinstance(leaf, jax.Array | np.ndarray):
            digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:8]
