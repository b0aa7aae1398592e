"""`glasswright export DIR`: packings and interactions of a run, for other programs."""

from pathlib import Path

from ..exchange.formats import FORMATS
from .parser import Parser


def main(arguments: list[str]) -> int:
    """Write the files, and list them."""
    given = parser().parse_args(arguments)
    from ..commands.export import export

    folder = Path(given.directory)
    for name in export(folder, given.format.split(","), design=given.design):
        print(folder / "export" / name)
    return 0


def parser() -> Parser:
    """The arguments of the command."""
    result = Parser(
        prog="glasswright export",
        description="Write the packings and the interactions of a training into DIR/export, for other programs.",
    )
    meanings = "; ".join(f"{name}: {meaning}" for name, meaning in FORMATS.items())
    result.add_argument("directory", metavar="DIR", help="directory of a training that has ended")
    result.add_argument(
        "--format", default="extxyz", metavar="NAMES", help=f"with commas between them (default: extxyz). {meanings}"
    )
    result.add_argument("--design", choices=("final", "best"), default="final", help="of its last or its best step")
    return result
