"""Signals that end a job in order: SIGTERM, which schedulers send, and SIGINT, which Ctrl-C sends."""

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeAlias

from .._errors import Interrupted, Stopped

logger = logging.getLogger(__name__)

# What does something about a signal, as `signal.signal` takes and returns it.
Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | None


class Terminated:
    """A context in which a SIGTERM or a first Ctrl-C only sets `requested`, which the job reads between two steps.

    A second Ctrl-C ends the job at once. Ctrl-C stays without effect where it was ignored before.
    """

    requested = False
    by_keyboard = False

    def __enter__(self) -> "Terminated":
        self._before: dict[int, Handler] = {}
        # Only the main thread may say what a signal does.
        if threading.current_thread() is threading.main_thread():
            self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._note)
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._note)
        return self

    def error(self, where: str) -> BaseException:
        """What the job raises once it has stopped; `where` says how far it has come, and how to go on."""
        if self.by_keyboard:
            return Interrupted(f"interrupted {where}")
        return Stopped(f"stopped by SIGTERM {where}")

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.by_keyboard:
                raise KeyboardInterrupt
            self.by_keyboard = True
            logger.info("stopping after this step; Ctrl-C again stops at once")
        self.requested = True

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            if before is not None:
                signal.signal(number, before)
