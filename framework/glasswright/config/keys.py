"""Whether a key of a configuration exists, and what to say if it does not."""

from collections.abc import Iterator, Mapping

from omegaconf import DictConfig, OmegaConf

from .._errors import RequestError, suggestion
from .._types import Untyped
from ..registry.component import KINDS
from ..registry.registry import registry
from .nodes import schedules


def check_key(config: DictConfig, key: str) -> None:
    """Raise `RequestError` unless the key exists in the configuration."""
    node: Untyped = config
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
            raise _missing_key(config, key, here, depth, node)
        node = node._get_node(part)
        if not OmegaConf.is_config(node):
            node = node._value()


def check_choice(config: DictConfig, key: str, value: object, slots: Mapping[str, str]) -> None:
    """Refuse a component's name where its keys are: `terms.x.objective=band` for `objective@terms.x.objective=band`.

    **Arguments:**

    - `slots`: the component chosen at each place: `terms.x.objective` → `objective/target`.
    """
    if not isinstance(value, str) or "." not in key:
        return
    group = slots.get(key, "").partition("/")[0]
    if not group:
        place = OmegaConf.select(config, key, throw_on_missing=False)
        names = [kind for kind in KINDS if value in registry().components(kind)]
        if value in schedules():
            group = "schedule"
        elif names and key.rsplit(".", 1)[-1] in names and (place is None or OmegaConf.is_dict(place)):
            group = key.rsplit(".", 1)[-1]
    if group:
        raise RequestError(f"{key}={value}: a component is chosen by {group}@{key}={value}")


def _places(node: DictConfig, above: str = "") -> Iterator[str]:
    """The dotted keys of all values that somebody may set."""
    for name in map(str, node):
        key = f"{above}.{name}" if above else str(name)
        if name in ("_target_", "hydra", "design", "change", "trained"):
            continue
        value: Untyped = node._get_node(name)
        if OmegaConf.is_dict(value) and not (value._is_none() or value._is_missing()):
            yield from _places(value, key)
        else:
            yield key


def _meant(config: DictConfig, key: str) -> list[str]:
    """The keys that end as this one does and have its parts in the same order: those that may be meant by it."""
    parts = key.split(".")

    def fits(place: str) -> bool:
        rest = iter(place.split("."))
        return place.rsplit(".", 1)[-1] == parts[-1] and all(part in rest for part in parts)

    return sorted(filter(fits, _places(config)), key=lambda place: (place.count("."), place))


def _missing_key(config: DictConfig, key: str, here: str, depth: int, node: DictConfig) -> RequestError:
    meant = _meant(config, key)
    if meant:
        return RequestError(f"{key}: no such key; did you mean {' or '.join(map(repr, meant[:3]))}?")
    known = [] if node._is_none() or node._is_missing() else [str(k) for k in node if k not in ("_target_", "hydra")]
    name = here.rsplit(".", 1)[-1]
    if here.startswith("terms.") and depth == 1:
        hint = f"; add it with property=[…,{name}]" if name in registry().components("property") else ""
        return RequestError(f"{key}: there is no term {name!r}; {suggestion(name, known)}{hint}")
    target = node._content.get("_target_") if isinstance(node._content, dict) else None
    what = f"parameter of {str(target).rsplit('.', 1)[-1]}" if target is not None else "key"
    return RequestError(f"{key}: no such {what}; {suggestion(name, known)}")
