"""One clear line for everything that can go wrong while Hydra composes a configuration."""

import re
from collections.abc import Iterable

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from .._errors import RequestError, suggestion

# The extra of this package that installs an option of a group of Hydra.
_EXTRAS = {
    "launcher": {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit"},
    "sweeper": {"optuna": "optuna"},
}
_EXPECTED = {"Integer": "an integer", "Float": "a number", "Boolean": "true or false", "String": "a text"}


def explain(error: BaseException) -> str:
    """What was wrong, on one line, in the words of the request rather than of Hydra."""
    if isinstance(error, RequestError):
        return str(error)
    if isinstance(error, OverrideParseException):
        return _unreadable(error)
    text = str(error)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error.__context__
    override = re.match(r"Error merging override (.*)", text, re.DOTALL)
    if override and cause is not None:
        return f"{override.group(1).strip()}: {_type_error(cause)}"
    sweep = re.match(r"Ambiguous value for argument '(.*)'", text) or re.search(
        r"Sweep parameters '(.*)' requires", text
    )
    if sweep:
        return f"{sweep.group(1)}: several values need --multirun; a list is written in brackets, 'key=[1,2]'"
    available = re.search(r"Available options in '([^']*)':(.*?)(?:Config search path|$)", text, re.DOTALL)
    missing = re.search(r"(In '.*?': )?Could not find '([^']*)'", text)
    if available and missing:
        group, wanted = available.group(1), missing.group(2).rsplit("/", 1)[-1]
        where = missing.group(1) or ""
        options = available.group(2).split()
        return f"{where}{group}={wanted}: no such option; {suggestion_of_extra(group, wanted, options)}"
    twice = re.search(r"(\S+) appears more than once in the final defaults list", text)
    if twice:
        name = re.sub(r".*@terms\.([^.]+).*", r"\1", twice.group(1))
        return f"{name} is chosen twice; a second one needs a name of its own, +property@terms.NAME=PROPERTY"
    nothing = re.match(r"Could not (?:override|delete) '([^']+)'", text)
    if nothing and ("No match in the defaults list" in text or "Did you mean to override" in text):
        instead = re.search(r"Did you mean to override ([^?\s]+)\?", text)
        hint = f"; did you mean {instead.group(1)!r}?" if instead else "; --help shows the keys that there are"
        return f"{nothing.group(1)}: there is no such choice here{hint}"
    block = re.match(r"(In '[^']*': ).*Merge error: \w+ is not a subclass of (\w+)\. value: (.*)", text, re.DOTALL)
    if block:
        # Nodes are called after what they describe: TrainNode, potential_harmonic_morse.
        where, key = block.group(1), re.sub(r"Node$|_.*", "", block.group(2)).lower()
        return f"{where}{key}: must be a block of keys, not {_flat(block.group(3))}"
    if isinstance(error, OmegaConfBaseException):
        return _omegaconf(error)
    if isinstance(error, HydraException) and isinstance(cause, OmegaConfBaseException):
        return f"{_first_line(error)} {_omegaconf(cause)}" if text else _omegaconf(cause)
    if isinstance(error, HydraException):
        return _flat(text)
    return f"{type(error).__name__}: {_flat(text)}"


def suggestion_of_extra(group: str, name: str, known: Iterable[str]) -> str:
    """What to say of a name that a group of Hydra does not have: the extra that brings it, or the other names."""
    extra = _EXTRAS.get(group.removeprefix("hydra/"), {}).get(name)
    if extra is None:
        return suggestion(name, known)
    return f"install the extra that has it: pip install 'glasswright[{extra}]'"


def _unreadable(error: OverrideParseException) -> str:
    """What to say of an override that Hydra cannot parse."""
    key, equals, value = error.override.partition("=")
    if not equals:
        return f"{error.override}: is neither an option nor key=value"
    if key != key.rstrip() or value != value.lstrip():
        return (
            f"{error.override}: cannot be read; write it without blanks around the sign: {key.strip()}={value.strip()}"
        )
    # Paths are not code: brackets and braces of lists are.
    if equals and value and value[0] not in "[{\"'" and re.search(r"[/\\.~ ()]|[^\x00-\x7f]", value):
        escaped = value.replace("'", "\\'")
        return (
            f"{error.override}: cannot be read; a path or text with such characters needs quotes of its own: "
            f"\"{key}='{escaped}'\""
        )
    advice = "write key=value, and quote lists for the shell: 'key=[1,2]'"
    return f"{error.override}: cannot be read ({_first_line(error)}); {advice}"


def unknown_key(key: str, known: Iterable[str], what: str = "key") -> RequestError:
    """An error for a key that does not exist, with the ones that do."""
    return RequestError(f"{key}: no such {what}; {suggestion(key.rsplit('.', 1)[-1], known)}")


def _type_error(cause: BaseException) -> str:
    converted = re.search(r"Value '(.*)' of type '.*' could not be converted to (\w+)", str(cause), re.DOTALL)
    if converted:
        return f"must be {_EXPECTED.get(converted.group(2), converted.group(2))}, not {converted.group(1)!r}"
    return _first_line(cause)


def _omegaconf(error: BaseException) -> str:
    key = re.search(r"full_key: (\S+)", str(error))
    text = _type_error(error)
    return f"{key.group(1)}: {text}" if key else text


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__


def _flat(text: str) -> str:
    """All of a message on one line, without the advice that Hydra adds about itself."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [x for x in lines if x and "HYDRA_FULL_ERROR" not in x and "https://hydra.cc" not in x]
    return " ".join(lines)
