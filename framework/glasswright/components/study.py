"""Studies: a published result as the runs that it takes, and what they say about it."""

import abc
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scale = Literal["quick", "paper"]
SCALES: tuple[Scale, ...] = ("quick", "paper")
Verdict = Literal["agrees", "disagrees", "undecided"]
# Standard errors within which two numbers are the same.
CLOSE = 2.0


@dataclasses.dataclass(frozen=True)
class StudyJob:
    """A run that a study needs.

    **Attributes:**

    - `name`: of its directory within that of the study.
    - `command`, `overrides`: what is run, as on the command line.
    - `reads`: by key of the command, the job whose directory it reads, such as `{"run": "train"}`; it is run first.
    """

    name: str
    command: str
    overrides: tuple[str, ...]
    reads: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Claim:
    """What was published, and what the runs say about it.

    **Attributes:**

    - `claim`: in words.
    - `published`, `source`: the number or the statement, and where it stands.
    - `measured`, `error`, `n`: what was found, its standard error, and from how many runs or packings.
    - `verdict`, `reason`: whether they agree, and why that is said.
    """

    claim: str
    published: float | str
    source: str
    measured: float | None
    error: float | None
    n: int
    verdict: Verdict
    reason: str


@dataclasses.dataclass(frozen=True)
class StudyRun:
    """A job that has ended.

    **Attributes:**

    - `directory`: its run directory.
    - `state`: `done`, or `failed` with the reason in `why`.
    - `report`: what `result.json` and its like hold; empty if it failed.
    - `lines`: the lines of its metrics, or of its configurations.
    """

    directory: Path
    state: str
    why: str | None
    report: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]


class AbstractStudy(abc.ABC):
    """The reproduction of a published result: its runs, its claims with verdicts, and its figure.

    `title` says in a few words what is reproduced, `source` where it was published.
    """

    title: ClassVar[str] = ""
    source: ClassVar[str] = ""

    @abc.abstractmethod
    def jobs(self, scale: Scale) -> Sequence[StudyJob]:
        """The runs at a scale: `paper` has the settings and the statistics of the paper, `quick` takes minutes."""

    @abc.abstractmethod
    def claims(self, scale: Scale, runs: Mapping[str, StudyRun]) -> Sequence[Claim]:
        """What the runs, by the names of their jobs, say about each published claim."""

    @abc.abstractmethod
    def figure(self, scale: Scale, runs: Mapping[str, StudyRun], options: Any) -> "Figure":
        """The figure in the form of the published one, with the published values marked.

        `options` are the `PlotOptions` that figures of glasswright are drawn with.
        """


def compare(
    claim: str,
    published: float,
    source: str,
    measured: float | None,
    error: float | None,
    n: int,
    *,
    published_error: float = 0.0,
    resolution: float | None = None,
) -> Claim:
    """A claim about a number: it agrees within two standard errors of the difference.

    **Arguments:**

    - `resolution`: the largest standard error with which anything can be decided; None sets no limit.
    """
    if measured is None or error is None or not math.isfinite(measured):
        return Claim(claim, published, source, measured, error, n, "undecided", "too few runs for a standard error")
    if resolution is not None and error > resolution:
        reason = f"the standard error {error:.2g} is larger than {resolution:g}"
        return Claim(claim, published, source, measured, error, n, "undecided", reason)
    spread = math.hypot(error, published_error)
    distance = abs(measured - published) / spread if spread > 0.0 else (0.0 if measured == published else math.inf)
    verdict: Verdict = "agrees" if distance <= CLOSE else "disagrees"
    return Claim(claim, published, source, measured, error, n, verdict, f"{distance:.2g} standard errors apart")
