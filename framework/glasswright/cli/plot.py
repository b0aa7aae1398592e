"""`glasswright plot DIR`: the pictures of a run again, in another format, width or style, or while it runs."""

from pathlib import Path

from .._errors import RequestError
from .._types import Setting
from ..plots.options import FORMATS, WIDTHS
from .parser import Parser


def main(arguments: list[str]) -> int:
    """Draw the pictures, and say where they are."""
    given = parser().parse_args(arguments)
    folder = Path(given.directory)
    if not folder.is_dir():
        raise RequestError(f"DIR={folder}: no such directory")
    # Drawing imports JAX and matplotlib; what is wrong above is said at once.
    from ..config.blocks import build_plots
    from ..reports.drawing import figures_of, front_of
    from ..run.listing import read_mapping
    from ..run.pictures import write_picture

    kept = read_mapping(folder / "config.yaml").get("plots") or {}
    asked: dict[str, Setting] = {"format": given.format, "width": _width(given.width), "style": given.style}
    options = build_plots(kept | {key: value for key, value in asked.items() if value is not None})
    output = Path(given.output) if given.output else folder
    output.mkdir(parents=True, exist_ok=True)
    if given.pareto is not None:
        figures = iter([("front", front_of(folder, given.pareto.split(","), options))])
    else:
        figures = figures_of(folder, options)
    for name, figure in figures:
        for path in write_picture(output, name, figure, options):
            print(path)
    return 0


def parser() -> Parser:
    """The arguments of the command."""
    result = Parser(prog="glasswright plot", description="Draw the pictures of a run again, or while it runs.")
    result.add_argument("directory", metavar="DIR", help="directory of a run; with --pareto, of a sweep")
    result.add_argument("--format", type=_formats, help=f"{', '.join(FORMATS)}, or several with commas between them")
    result.add_argument("--width", help=f"{', '.join(WIDTHS)} column of a journal, or millimetres")
    result.add_argument("--style", help="a style of matplotlib by its name, or a style sheet")
    result.add_argument("--pareto", metavar="X,Y", help="the front of all runs below DIR, by the losses of these terms")
    result.add_argument("--output", metavar="FOLDER", help="where the pictures go (default: DIR)")
    return result


def _formats(text: str) -> list[str]:
    return text.split(",")


def _width(text: str | None) -> str | float | None:
    """A width as a configuration has it: a name or a number."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text
