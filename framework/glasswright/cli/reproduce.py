"""`glasswright reproduce`: a published result by one command, with a verdict."""

import json
import os
from pathlib import Path

from .._errors import RequestError, suggestion
from .._types import Setting
from .parser import Parser


def main(arguments: list[str]) -> int:
    """List the studies, or run one; exit code 0 whatever its verdict is."""
    given = parser().parse_args(arguments)
    if given.document:
        from ..reports.document import tables

        print(tables(Path(given.document)))
        return 0
    # The registry imports JAX.
    from ..config.instantiate import default_node, instantiate
    from ..registry.registry import registry

    studies = registry().components("study")
    if given.list:
        if given.json:
            print(json.dumps({name: _described(component.cls) for name, component in studies.items()}, indent=1))
        else:
            for name, component in studies.items():
                print(f"{name:14} {_described(component.cls)['title']}")
        return 0
    if given.name is None:
        raise RequestError(f"NAME is required; possible: {', '.join(studies)}")
    if given.name not in studies:
        raise RequestError(f"NAME={given.name}: {registry().missing('study', given.name)}")
    from ..reports.reproduce import StudyRequest, describe, reproduce

    scales = [word.partition("=")[2] for word in given.overrides if word.startswith("scale=")]
    wrong = [word for word in given.overrides if "=" not in word]
    if wrong:
        raise RequestError(
            f"{wrong[0]}: must be scale=… or KEY=VALUE; {suggestion(wrong[0], ['scale=quick', 'scale=paper'])}"
        )
    # The request checks it.
    scale: Setting = scales[-1] if scales else "quick"
    component = studies[given.name]
    request = StudyRequest(
        name=given.name,
        study=instantiate("study", default_node(component, {}), "study", {}),
        scale=scale,
        overrides=tuple(word for word in given.overrides if not word.startswith("scale=")),
        folder=Path(given.output) if given.output else Path("outputs") / "reproduce" / f"{given.name}_{scale}",
        parallel=given.jobs,
    )
    verdict = reproduce(request, lambda text: print(f"{given.name}: {text}", flush=True))
    for line in describe(verdict):
        print(line)
    print(f"results in {request.folder}")
    return 0


def _described(cls: object) -> dict[str, str]:
    return {"title": str(getattr(cls, "title", "")), "source": str(getattr(cls, "source", ""))}


def parser() -> Parser:
    """The arguments of the command."""
    result = Parser(
        prog="glasswright reproduce", description="Reproduce a published result, and say whether it agrees."
    )
    result.add_argument("name", metavar="NAME", nargs="?", help="of a study")
    result.add_argument(
        "overrides", metavar="KEY=VALUE", nargs="*", help="scale=quick (default) or scale=paper; others go to every job"
    )
    result.add_argument("--list", action="store_true", help="all studies that are installed")
    result.add_argument(
        "--document",
        metavar="FOLDER",
        help="print the verdicts of all studies in a folder as Markdown, and run nothing",
    )
    result.add_argument("--json", action="store_true", help="with --list: machine-readable output")
    result.add_argument("--output", metavar="FOLDER", help="(default: outputs/reproduce/NAME_SCALE)")
    result.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="how many jobs run at a time (default: cores)"
    )
    return result
