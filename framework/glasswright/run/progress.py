"""Progress of long work on standard error: a bar on a terminal, lines of text elsewhere."""

import contextvars
import html
import sys
import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Column

from .._types import JSON, Untyped

# What comes before the progress of one of several jobs, such as `job 3`.
label: contextvars.ContextVar[str] = contextvars.ContextVar("label", default="")
# On terminals narrower than this, only the most important is shown.
WIDE = 120
# How often a notebook is told.
SECONDS_BETWEEN_UPDATES = 0.2


def describe(line: Mapping[str, JSON]) -> str:
    """A line of metrics as text: loss, values, learning rate and outcomes."""
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


class Progress:
    """Shows how much of a known number of steps or samples is done.

    **Arguments:**

    - `name`: what the bar is called.
    - `total`: number of steps or samples.
    - `seconds_between_lines`: where there is no terminal, lines in between are left out.
    - `console`: where to show it; None is standard error.
    """

    def __init__(self, name: str, total: int, seconds_between_lines: float = 10.0, console: Console | None = None):
        self.total, self.done = total, 0
        self.seconds_between_lines = seconds_between_lines
        self._printed = float("-inf")
        self._label = label.get()
        self._console = console or Console(stderr=True)
        wide = self._console.width >= WIDE
        # The text takes what the other columns leave, and is cut rather than wrapped.
        line = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        columns = [
            TextColumn(f"[bold]{self._label or name}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=20 if wide else 8),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            *([TimeElapsedColumn(), TextColumn("left")] if wide else []),
            TimeRemainingColumn(table_column=Column(no_wrap=True), compact=not wide),
            TextColumn("{task.fields[line]}", table_column=line),
        ]
        self.bar = RichProgress(*columns, console=self._console, expand=True, disable=not self._console.is_terminal)
        self._task = self.bar.add_task(name, total=total, start=False, line="preparing and compiling …")

    def __enter__(self) -> "Progress":
        self.bar.start()
        self.bar.start_task(self._task)
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def update(self, line: Mapping[str, JSON], last: bool = False) -> None:
        """Show a step of training by its line of metrics; the first and the last step are always printed."""
        step = line["step"]
        self.done = step + 1
        self._show(describe(line), f"step {step}/{self.total}", always=last or step == 0)

    def advance(self, count: int) -> None:
        """Count further samples, to be shown with the next text."""
        self.done += count

    def describe(self, text: str) -> None:
        """Show a text with what is done by now; the last one is always printed."""
        self._show(text, f"{self.done}/{self.total}", always=self.done >= self.total)

    def _show(self, text: str, position: str, always: bool) -> None:
        """Update the bar, or print a line."""
        if self._console.is_terminal:
            self.bar.update(self._task, completed=self.done, line=text)
        elif always or time.monotonic() - self._printed > self.seconds_between_lines:
            self._printed = time.monotonic()
            begin = f"{self._label}  " if self._label else ""
            self._console.print(f"{begin}{position}  {text}", highlight=False, soft_wrap=True)


class NotebookProgress:
    """Shows how much is done below the cell of a notebook.

    **Arguments:**

    - `name`, `total`: as of `Progress`.
    """

    def __init__(self, name: str, total: int):
        self.name, self.total, self.done = name, total, 0
        self._begin = self._shown = time.monotonic()
        self._handle: Untyped = None
        self._text = "preparing and compiling …"

    def __enter__(self) -> "NotebookProgress":
        from IPython import display

        show: Untyped = display.display
        self._handle = show(self, display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.update(self)

    def update(self, line: Mapping[str, JSON], last: bool = False) -> None:
        """Show a step of training by its line of metrics."""
        self.done = line["step"] + 1
        self.describe(describe(line))

    def advance(self, count: int) -> None:
        """Count further samples, to be shown with the next text."""
        self.done += count

    def describe(self, text: str) -> None:
        """Show a text with what is done by now, a few times a second."""
        self._text = text
        if time.monotonic() - self._shown > SECONDS_BETWEEN_UPDATES:
            self._shown = time.monotonic()
            self._handle.update(self)

    def _repr_html_(self) -> str:
        bar = f'<progress value="{self.done}" max="{self.total}" style="width: 14em"></progress>'
        return f"<code>{self.name}</code> {bar} <code>{html.escape(self._line())}</code>"

    def __repr__(self) -> str:
        return f"{self.name} {self._line()}"

    def _line(self) -> str:
        return f"{self.done}/{self.total}  {time.monotonic() - self._begin:.0f} s  {self._text}"


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


class Silent:
    """Takes the place of a progress display, and shows nothing."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, line: Mapping[str, JSON], last: bool = False) -> None:
        """Show nothing."""

    def advance(self, count: int) -> None:
        """Count nothing."""

    def describe(self, text: str) -> None:
        """Show nothing."""


def progress_bar(name: str, total: int, *, shown: bool) -> Progress | NotebookProgress | Silent:
    """The progress display of a job; `shown` is false where nobody asked for it, and in all processes but the first."""
    if not shown:
        return Silent()
    return NotebookProgress(name, total) if is_notebook() else Progress(name, total)
