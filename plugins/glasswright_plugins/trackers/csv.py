"""The metrics of a training as a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import glasswright as gw


class CSV(gw.AbstractTracker):
    """Writes a table for spreadsheets into the run directory, with a row for each step.

    Has the same numbers as `metrics.jsonl`, apart from properties that are arrays. A run that goes on after an
    interruption goes on in the same table.

    **Arguments:**

    - `file`: name of the table.
    """

    def __init__(self, file: str = "metrics.csv"):
        if Path(file).name != file:
            raise ValueError(f"CSV(file={file!r}): must be a name without folders; the table is in the run directory.")
        self.file = file

    def start(self, run: gw.TrackedRun) -> None:
        if run.directory is None:
            raise ValueError("the training writes no files: there is no directory for the table")
        self.path = run.directory / self.file
        kept = self.path.read_text().splitlines(keepends=True)[: run.first_step + 1] if run.first_step else []
        self.path.write_text("".join(kept))

    def step(self, line: Mapping[str, object]) -> None:
        numbers = {"step": line["step"], **self.numbers(line)}
        with self.path.open("a+", newline="") as file:
            file.seek(0)
            # A step in which no packing was accepted lacks some of the columns.
            columns = next(csv.reader(file), None) or list(numbers)
            file.seek(0, 2)
            writer = csv.DictWriter(file, columns, restval="nan", extrasaction="ignore", lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(numbers)
