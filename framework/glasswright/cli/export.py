"""`glasswright export DIR`: packings and interactions of a run, for other programs."""

from pathlib import Path

from ..commands.export import export
from ..jobs.export import FORMATS
from .parser import Parser


def main(arguments: list[str]) -> int:
    """Write the files, and list them."""
    parser = Parser(
        prog="glasswright export",
        description="Write the packings and the interactions of a training into DIR/export, for other programs.",
    )
    parser.add_argument("directory", metavar="DIR", help="directory of a training")
    parser.add_argument(
        "--format",
        default="extxyz",
        metavar="NAMES",
        help=f"with commas: {', '.join(f'{name} ({meaning})' for name, meaning in FORMATS.items())}; default: extxyz",
    )
    parser.add_argument("--design", choices=("final", "best"), default="final", help="of its last or its best step")
    given = parser.parse_args(arguments)
    folder = Path(given.directory)
    for name in export(folder, given.format.split(","), design=given.design):
        print(folder / "export" / name)
    return 0
