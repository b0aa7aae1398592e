"""From a composed configuration to the objects it describes, through the registry: no import by name."""

import dataclasses
from collections.abc import Mapping

import jax

from .._errors import RequestError, suggestion
from .._types import Setting
from ..components.objective import AbstractObjective, Term
from ..components.property import AbstractProperty
from ..components.protocol import AbstractProtocol
from ..evaluation.estimator import Variable
from ..execution.workers import MAX_OVERSUBSCRIPTION, available_devices
from ..plots.options import DEFAULT_PLOTS, FORMATS, LEAST_WIDTH, MOST_WIDTH, WIDTHS, PlotOptions
from ..registry.parameters import REQUIRED, parameters
from ..registry.registry import registry
from .instantiate import construct, default_node, instantiate
from .nodes import PlotsNode, TermNode, field_types
from .values import MISSING, check_names, integer, number

# The keys of a design variable of which more is said than its bounds.
VARIABLE = {field.name: field for field in dataclasses.fields(Variable)}


def drop_open_objectives(terms: Mapping[str, Setting]) -> None:
    """Set to null, in place, the objectives whose target (or another parameter) is still required."""
    for node in terms.values():
        objective = node.get("objective") if isinstance(node, dict) else None
        if isinstance(objective, dict) and MISSING in objective.values():
            node["objective"] = None


def require_terms(terms: Setting) -> None:
    """Refuse a configuration without terms, and terms without a property."""
    if not terms:
        possible = ", ".join(registry().components("property"))
        raise RequestError(f"property: nothing is asked for; choose with property=[…]; possible: {possible}")
    for name, node in terms.items():
        if not isinstance(node, dict) or not isinstance(node.get("property"), dict):
            known = registry().components("property")
            hint = f"add it with property=[{name}]" if name in known else suggestion(name, known)
            raise RequestError(f"terms.{name}: there is no such term: it has no property; {hint}")


def build_term(
    name: str,
    node: Mapping[str, Setting],
    protocol: AbstractProtocol,
    system: Mapping[str, Setting],
    open_objective: AbstractObjective | None = None,
) -> Term:
    """The term of that name; `open_objective` is its objective if it has none of its own."""
    key = f"terms.{name}"
    check_names(node, field_types(TermNode), key, "key of a term")
    measured = build_property(name, node, protocol, system)
    chosen = node.get("objective")
    if chosen is None and open_objective is not None:
        objective = open_objective
    else:
        objective = instantiate("objective", chosen, f"{key}.objective", system)
    weight = number(node.get("weight", 1.0), f"{key}.weight")
    if weight < 0:
        raise RequestError(f"{key}.weight={weight:g}: must not be negative")
    scale = number(node.get("scale", 1.0), f"{key}.scale")
    if scale <= 0:
        raise RequestError(f"{key}.scale={scale:g}: must be positive")
    return Term(property=measured, objective=objective, weight=weight, scale=scale)


def build_property(
    name: str, node: Setting, protocol: AbstractProtocol, system: Mapping[str, Setting]
) -> AbstractProperty:
    """The property of the term of that name, which must be able to read the states that the protocol provides."""
    key = f"terms.{name}.property"
    chosen = node.get("property") if isinstance(node, dict) else node
    measured: AbstractProperty = instantiate("property", chosen, key, system)
    if not issubclass(protocol.provides, measured.requires):
        raise RequestError(
            f"{key}: {type(measured).__name__} needs a state of type {measured.requires.__name__}, but the "
            f"protocol {type(protocol).__name__} provides {protocol.provides.__name__}"
        )
    return measured


def fitting_properties(protocol: AbstractProtocol, system: Mapping[str, Setting]) -> dict[str, AbstractProperty]:
    """Every registered property that the protocol's state is enough for and that needs no parameters."""
    result = {}
    for name, component in registry().components("property").items():
        required = [p for p in parameters(component).values() if p.default is REQUIRED]
        if not required:
            measured = construct(component, default_node(component, system), f"terms.{name}.property", system)
            if issubclass(protocol.provides, measured.requires):
                result[name] = measured
    return result


def build_design(node: Setting, key: str = "") -> dict[str, tuple[float, float] | Variable]:
    """Bounds by dotted path; `design.potential.diameter` on the command line arrives as nested keys."""
    result: dict[str, tuple[float, float] | Variable] = {}
    for name, given in (node or {}).items():
        path = f"{key}.{name}" if key else str(name)
        if isinstance(given, dict) and not given.keys() & VARIABLE.keys():
            result |= build_design(given, path)
        elif isinstance(given, dict):
            result[path] = _variable(path, given)
        else:
            result[path] = _bounds(path, given)
    return result


def _variable(path: str, given: Mapping[str, Setting]) -> Variable:
    """A design variable of which more is said than its bounds."""
    check_names(given, VARIABLE, f"design.{path}", "key of a design variable")
    width = given.get("width")
    return Variable(
        bounds=_bounds(path, given.get("bounds")),
        # Which estimators a variable can have is known where the model is.
        estimator=given.get("estimator"),
        width=None if width is None else number(width, f"design.{path}.width"),
    )


def _bounds(path: str, bounds: object) -> tuple[float, float]:
    if not isinstance(bounds, list) or len(bounds) != 2:
        raise RequestError(
            f"design.{path}={bounds!r}: bounds must be [lower, upper], or {{bounds: [lower, upper], estimator: NAME}}"
        )
    lower, upper = (number(bound, f"design.{path}", infinite=True) for bound in bounds)
    return lower, upper


def build_plots(node: Mapping[str, Setting] | None) -> PlotOptions:
    """How pictures are drawn; whether there is such a style is looked up."""
    given = dataclasses.asdict(DEFAULT_PLOTS) | dict(node or {})
    check_names(given, field_types(PlotsNode), "plots", "key")
    formats = [given["format"]] if isinstance(given["format"], str) else given["format"]
    if not isinstance(formats, list | tuple) or not formats:
        raise RequestError(f"plots.format={formats!r}: must be a list; possible: {', '.join(FORMATS)}")
    for format in formats:
        if format not in FORMATS:
            raise RequestError(f"plots.format={format}: {suggestion(str(format), FORMATS)}")
    width = given["width"]
    if isinstance(width, str):
        if width not in WIDTHS:
            raise RequestError(f"plots.width={width}: {suggestion(width, WIDTHS)}, or a number of millimetres")
    elif not LEAST_WIDTH <= number(width, "plots.width") <= MOST_WIDTH:
        raise RequestError(f"plots.width={width}: must be between {LEAST_WIDTH:g} and {MOST_WIDTH:g} millimetres")
    return PlotOptions(tuple(dict.fromkeys(formats)), width, _checked_style(given["style"]))


def _checked_style(style: object) -> str | None:
    if style is None:
        return None
    if not isinstance(style, str):
        raise RequestError(f"plots.style={style!r}: must be the name of a style of matplotlib, or of a style sheet")
    # Slow to import, and only needed where somebody has a style of their own.
    import matplotlib
    import matplotlib.style

    try:
        with matplotlib.rc_context():
            matplotlib.style.use(style)
    except OSError as error:
        known = suggestion(style, matplotlib.style.available)
        raise RequestError(f"plots.style={style}: neither a style sheet nor a style of matplotlib; {known}") from error
    return style


def build_chunk_size(value: object) -> int | None:
    """How many configurations are in work at a time; None lets memory decide."""
    return None if value == "auto" else integer(value, "chunk_size", least=1)


def build_devices(devices: object) -> int | None:
    """How many devices; None for all there are."""
    if devices == "auto":
        return None
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise RequestError(f"devices={devices!r}: must be auto or a number of devices")
    there = available_devices()
    if jax.default_backend() == "cpu":
        # More threads than cores gain nothing but change nothing either: the results are the same.
        there = max(MAX_OVERSUBSCRIPTION * there, jax.local_device_count())
    if devices > there:
        raise RequestError(f"devices={devices}: at most {there} are possible here")
    return devices
