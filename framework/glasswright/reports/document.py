"""Verdicts of studies as Markdown: what was published, what was measured, what it took, and how to repeat it."""

import dataclasses
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from .._errors import RequestError
from .._types import JSON
from ..run.files import read_json
from ..run.listing import natural_order
from .record import number, with_error
from .reproduce import ACCOUNTING, VERDICT

MINUTE = 60.0


@dataclasses.dataclass(frozen=True)
class FinishedStudy:
    """A study that has a verdict.

    **Attributes:**

    - `folder`: where its files are.
    - `verdict`, `accounting`: what `verdict.json` and `accounting.json` hold; the latter may be empty.
    """

    folder: Path
    verdict: dict[str, JSON]
    accounting: dict[str, JSON]

    @property
    def name(self) -> str:
        """The study and its scale."""
        return f"{self.verdict['study']} {self.verdict['scale']}"

    @property
    def anchor(self) -> str:
        """Where a page has its heading."""
        return self.name.lower().replace(" ", "-")

    @property
    def command(self) -> str:
        """What repeats the study."""
        words = [self.verdict["study"], f"scale={self.verdict['scale']}", *self.verdict["overrides"]]
        return f"glasswright reproduce {shlex.join(words)}"

    @property
    def counts(self) -> str:
        """How many claims have which verdict."""
        counts = Counter(claim["verdict"] for claim in self.verdict["claims"])
        return ", ".join(f"{verdict}: {count}" for verdict, count in sorted(counts.items()))


def finished_studies(folder: Path) -> list[FinishedStudy]:
    """The studies below a folder that have a verdict, in the order of their names."""
    paths = sorted(folder.rglob(VERDICT), key=lambda path: natural_order(str(path)))
    if not paths:
        raise RequestError(f"--document {folder}: there is no {VERDICT} in it")
    return [
        FinishedStudy(
            path.parent, read_json(path), read_json(took) if (took := path.with_name(ACCOUNTING)).exists() else {}
        )
        for path in paths
    ]


def tables(folder: Path) -> str:
    """A table of all studies below a folder, and one of the claims of each, as Markdown."""
    studies = finished_studies(folder)
    headings = ["study", "what", "verdicts", "jobs", "wall time", "processor time"]
    rows = [
        [
            f"[`{study.name}`](#{study.anchor})",
            study.verdict["title"],
            study.counts,
            str(study.verdict["jobs"]),
            *(_minutes(study.accounting.get(key)) for key in ("wall_seconds", "processor_seconds")),
        ]
        for study in studies
    ]
    return "\n\n".join([_table(headings, rows), *(_claims(study) for study in studies)])


def gallery(folder: Path, address: str, page: str) -> str:
    """The figures of the studies below a folder, each with its verdicts and its command, as Markdown.

    **Arguments:**

    - `address`: of the folder, as seen from the gallery.
    - `page`: the address of the page with the tables.
    """
    parts = []
    for study in finished_studies(folder):
        if (study.folder / "figure.png").exists():
            picture = f"{address}/{study.folder.relative_to(folder).as_posix()}/figure.png"
            parts += [
                f"## {study.verdict['title']}",
                f"{study.verdict['source']}: {study.counts} ([claims]({page}#{study.anchor})).",
                _console(study.command),
                f"![{study.verdict['title']}]({picture})",
            ]
    return "\n\n".join(parts)


def _claims(study: FinishedStudy) -> str:
    """The section of one study."""
    verdict = study.verdict
    seeds, failed = _ranges(verdict["seeds"]), verdict["failed"]
    jobs = (
        f"{verdict['jobs']} jobs"
        + (f", {failed} of them failed" if failed else "")
        + (f"; seeds: {seeds}" if seeds else "")
    )
    rows = [
        [
            claim["claim"],
            f"{_published(claim['published'])} ({claim['source'].rpartition(', ')[2]})",
            with_error(claim["measured"], claim["error"]),
            str(claim["n"]),
            f"**{claim['verdict']}**",
            claim["reason"],
        ]
        for claim in verdict["claims"]
    ]
    headings = ["claim", "published", "measured", "n", "verdict", "why"]
    return "\n\n".join(
        [f"### {study.name}", f"{verdict['title']}. {jobs}.", _console(study.command), _table(headings, rows)]
    )


def _published(value: JSON) -> str:
    return value if isinstance(value, str) else number(value)


def _ranges(numbers: Sequence[int]) -> str:
    """Whole numbers in words: `0`, `0 and 2`, `0 to 9`."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return " and ".join(filter(None, [", ".join(map(str, numbers[:-1])), *map(str, numbers[-1:])]))


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / MINUTE:.1f} min"


def _console(command: str) -> str:
    return f"```console\n$ {command}\n```"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; bars within its cells are escaped."""
    lines = [headings, ["---"] * len(headings), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
