"""Studies: a published result as the runs that it takes, and what they say about it."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from .._types import JSON
from .claim import Claim

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scale = Literal["quick", "paper"]
SCALES: tuple[Scale, ...] = ("quick", "paper")


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
    report: Mapping[str, JSON]
    lines: Sequence[Mapping[str, JSON]]


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
    # `Any`: `PlotOptions` belong to a folder above this one.
    def figure(self, scale: Scale, runs: Mapping[str, StudyRun], options: Any) -> "Figure":
        """The figure in the form of the published one, with the published values marked.

        `options` are the `PlotOptions` that figures of glasswright are drawn with.
        """
