"""`glasswright resume DIR`: go on with a run that was interrupted."""

from pathlib import Path

from .._errors import RunError
from ..commands.resume import RESUME_KEYS, resume
from ..execution.hosts import hosts_joined
from .parser import Parser


def main(arguments: list[str]) -> int:
    """Go on with a run, and show what it came to."""
    parser = Parser(
        prog="glasswright resume",
        description="Go on with an interrupted run, to the same end as if it had never been interrupted.",
    )
    parser.add_argument("directory", metavar="DIR", help="directory of a training or validation")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="KEY=VALUE", help=f"possible: {', '.join(RESUME_KEYS)}"
    )
    given = parser.parse_args(arguments)
    folder = Path(given.directory)
    with hosts_joined() as peers:
        command, report = resume(folder, given.overrides, progress=True)
        if peers.rank == 0:
            for line in command.summarise(report, folder):
                print(line)
            failure = command.failure(report)
            if failure is not None:
                raise RunError(failure)
    return 0
