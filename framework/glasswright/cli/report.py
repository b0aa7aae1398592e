"""`glasswright report DIR…`: a page about one run or several, in one file that needs no network."""

from pathlib import Path

from .parser import Parser

DEFAULT_OUTPUT = "report.html"


def main(arguments: list[str]) -> int:
    """Write the page, and say where it is."""
    given = parser().parse_args(arguments)
    folders = [Path(name) for name in given.directories]
    # Drawing imports JAX and matplotlib.
    from ..config.blocks import build_plots
    from ..reports.page import report_page
    from ..run.files import make_folder, write_atomically

    style = build_plots({"style": given.style}).style
    page = report_page(folders, given.pareto.split(",") if given.pareto else (), style)
    output = Path(given.output) if given.output else folders[0] / DEFAULT_OUTPUT
    make_folder(output.parent)
    write_atomically(output, page)
    print(output)
    return 0


def parser() -> Parser:
    """The arguments of the command."""
    result = Parser(prog="glasswright report", description="A page about runs: one HTML file that needs no network.")
    result.add_argument("directories", metavar="DIR", nargs="+", help="directories of runs or of sweeps")
    result.add_argument("--output", metavar="FILE", help=f"(default: {DEFAULT_OUTPUT} in the first DIR)")
    result.add_argument("--pareto", metavar="X,Y", help="draw the front of the losses of these terms")
    result.add_argument("--style", help="a style of matplotlib by its name, or a style sheet")
    return result
