"""Jobs of a sweep that have failed: kept in the folder of the sweep, because jobs may run in processes of their own."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ..run.files import append_line, read_lines

FILE = "failed_jobs.jsonl"


@dataclasses.dataclass(frozen=True)
class FailedJob:
    """A job of a sweep that has failed: its number and overrides, and why on one line."""

    number: int
    overrides: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"job {self.number} ({' '.join(self.overrides)}): {self.reason}"


class SweepStopped(BaseException):
    """A signal has ended a job of a sweep: no `Exception`, because Hydra would go on with the next job."""


def keep_failure(folder: Path, failed: FailedJob) -> None:
    """Add a job to those of a sweep that have failed."""
    append_line(folder / FILE, dataclasses.asdict(failed))


def forget_failures(folder: Path) -> None:
    """Remove what an earlier sweep has left in the folder."""
    (folder / FILE).unlink(missing_ok=True)


def failures_of(folder: Path) -> list[FailedJob]:
    """The jobs of a sweep that have failed, in the order of their numbers."""
    failed = [
        FailedJob(int(line["number"]), tuple(line["overrides"]), str(line["reason"]))
        for line in read_lines(folder / FILE)
    ]
    return sorted(failed, key=lambda job: job.number)


def describe_failures(failed: Sequence[FailedJob], total: int | None = None) -> str:
    """All failed jobs with their reasons, in one line."""
    of = "" if total is None else f"of {total} "
    noun = "job" if len(failed) == 1 and total is None else "jobs"
    return f"{len(failed)} {of}{noun} failed: {'; '.join(map(str, failed))}"
