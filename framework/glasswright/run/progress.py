"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def describe(line: Mapping[str, Any]) -> str:
    """Loss, values, learning rate and outcomes of a metrics line, in one row."""
    loss = "none accepted" if line["loss"] is None else f"{line['loss']:.3e}"
    parts = [f"loss {loss}"]
    for name, term in line["terms"].items():
        if isinstance(term["value"], float):
            parts.append(f"{name} {term['value']:.5f}")
    if line["learning_rate"] is not None:
        parts.append(f"rate {line['learning_rate']:.2e}")
    parts.append(f"{line['converged']}/{line['requested']} converged")
    parts.extend(f"{count} {outcome}" for outcome, count in line["rejected"].items())
    if line["rearranged"]:
        parts.append(f"{line['rearranged']} rearranged")
    return "  ".join(parts)


class TrainingProgress:
    """Shows a training run as it goes: call `update` with each step's metrics line."""

    def __init__(self, steps: int, seconds_between_lines: float = 10.0):
        self.steps = steps
        self.seconds_between_lines = seconds_between_lines
        self.console = Console(stderr=True)
        self.bar: Progress | None = None

    def __enter__(self) -> "TrainingProgress":
        self._last = 0.0
        if self.console.is_terminal:
            self.bar = Progress(
                TextColumn("[bold]train"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[line]}"),
                console=self.console,
            )
            self.bar.start()
            self._task = self.bar.add_task("train", total=self.steps, line="preparing and compiling …")
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, line: Mapping[str, Any], last: bool = False) -> None:
        if self.bar is not None:
            self.bar.update(self._task, completed=line["step"] + 1, line=describe(line))
        elif last or line["step"] == 0 or time.monotonic() - self._last > self.seconds_between_lines:
            self._last = time.monotonic()
            self.console.print(f"step {line['step']}/{self.steps}  {describe(line)}", highlight=False, soft_wrap=True)


class CountProgress:
    """Shows how many of a known number of things are done: call `advance`, and `describe` with what is new."""

    def __init__(self, name: str, total: int, seconds_between_lines: float = 10.0):
        self.name, self.total, self.done, self.text = name, total, 0, ""
        self.seconds_between_lines = seconds_between_lines
        self.console = Console(stderr=True)
        self.bar: Progress | None = None

    def __enter__(self) -> "CountProgress":
        self._last = 0.0
        if self.console.is_terminal:
            self.bar = Progress(
                TextColumn(f"[bold]{self.name}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[line]}"),
                console=self.console,
            )
            self.bar.start()
            self._task = self.bar.add_task(self.name, total=self.total, line="preparing and compiling …")
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def advance(self, count: int) -> None:
        self.done += count

    def describe(self, text: str) -> None:
        if self.bar is not None:
            self.bar.update(self._task, completed=self.done, line=text)
        elif self.done >= self.total or time.monotonic() - self._last > self.seconds_between_lines:
            self._last = time.monotonic()
            self.console.print(f"{self.done}/{self.total}  {text}", highlight=False, soft_wrap=True)


class Silent:
    """Shows nothing."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, line: Mapping[str, Any], last: bool = False) -> None:
        pass

    def advance(self, count: int) -> None:
        pass

    def describe(self, text: str) -> None:
        pass
