"""SIGTERM, which schedulers send before they take a machine back."""

import signal
import threading


class Terminated:
    """A context in which a SIGTERM only sets `requested`, which the job reads between two pieces of work."""

    requested = False

    def __enter__(self) -> "Terminated":
        self._before = None
        # Only the main thread may say what a signal does.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def _note(self, *_: object) -> None:
        self.requested = True

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
