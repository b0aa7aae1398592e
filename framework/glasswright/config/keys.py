"""Whether a key of a configuration exists, and what to say if it does not."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from .._errors import RequestError, suggestion
from ..registry.registry import registry


def check_key(config: DictConfig, key: str) -> None:
    """Raise `RequestError` unless the key exists in the configuration."""
    node: Any = config
    parts = key.split(".")
    for depth, part in enumerate(parts):
        here = ".".join(parts[: depth + 1])
        if not OmegaConf.is_dict(node):
            if OmegaConf.is_list(node):
                return
            above = ".".join(parts[:depth])
            hint = f"; choose schedule@{above}=… first" if above.endswith("learning_rate") else ""
            raise RequestError(f"{key}: {above} is {node!r}, it has no keys{hint}")
        if node._get_flag("struct") is False:
            return
        if node._is_none() or node._is_missing() or part not in node._content:
            raise _missing_key(key, here, depth, node)
        node = node._get_node(part)
        if not OmegaConf.is_config(node):
            node = node._value()


def _missing_key(key: str, here: str, depth: int, node: DictConfig) -> RequestError:
    known = [] if node._is_none() or node._is_missing() else [str(k) for k in node if k not in ("_target_", "hydra")]
    name = here.rsplit(".", 1)[-1]
    if here.startswith("terms.") and depth == 1:
        hint = f"; add it with property=[…,{name}]" if name in registry().components("property") else ""
        return RequestError(f"{key}: there is no term {name!r}; {suggestion(name, known)}{hint}")
    target = node._content.get("_target_") if isinstance(node._content, dict) else None
    what = f"parameter of {str(target).rsplit('.', 1)[-1]}" if target is not None else "key"
    return RequestError(f"{key}: no such {what}; {suggestion(name, known)}")
