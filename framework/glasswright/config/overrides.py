"""Overrides as somebody types them, before Hydra parses them."""

import re
from collections.abc import Iterable
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from .._errors import RequestError
from .._types import Setting
from .messages import explain

# What a path may consist of without meaning anything else to Hydra.
_PLAIN = re.compile(r"[A-Za-z_./][\w./+@%-]*", re.ASCII)
# Keys whose values are paths, however they look.
_PATHS = ("configuration", "run", "system.path")


def quoted_paths(overrides: Iterable[str]) -> list[str]:
    """The overrides, with quotes around values that name an existing file and would mean something else to Hydra."""
    return [_quoted(override) for override in overrides]


def parse(override: str) -> tuple[str, Setting]:
    """The key and the value of a single `key=value`, as Hydra reads it.

    Raises `RequestError` with one line for anything else.
    """
    try:
        parsed = _parse(_quoted(override))
    except HydraException as error:
        raise RequestError(explain(error)) from error
    if parsed.is_add() or parsed.is_delete() or parsed.package is not None:
        raise RequestError(f"{override}: must be key=value")
    if parsed.is_sweep_override():
        raise RequestError(f"{override}: several values need --multirun; a list is written in brackets, 'key=[1,2]'")
    return parsed.key_or_group, parsed.value()


def _parse(override: str) -> Override:
    return OverridesParser.create().parse_overrides([override])[0]


def _quoted(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals or not value or value[0] in "'\"" or _PLAIN.fullmatch(value):
        return override
    file = _existing(value) or _at_home(value)
    if file is None:
        return override
    if key not in _PATHS:
        # Elsewhere a list, a number, a sweep are what they are, whatever files there may be.
        try:
            _parse(override)
            return override
        except HydraException:
            pass
    escaped = file.replace("\\", "\\\\") if file.endswith("\\") else file
    escaped = escaped.replace("'", "\\'")
    return f"{key}='{escaped}'"


def _at_home(value: str) -> str | None:
    """The path that a value is, if it begins with the home folder: to Hydra that means nothing."""
    try:
        return str(Path(value).expanduser()) if value.startswith("~/") else None
    except RuntimeError:  # nobody has a home
        return None


def _existing(value: str) -> str | None:
    """The path that a value is, if there is a file or a folder of that name."""
    for candidate in (value, value.rstrip("/")):
        try:
            if Path(candidate).exists():
                return candidate
            home = Path(candidate).expanduser()
            if candidate.startswith("~") and home.exists():
                return str(home)
        except (OSError, RuntimeError, ValueError):
            continue
    return None
