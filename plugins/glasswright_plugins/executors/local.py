"""The cores or accelerators of this machine."""

import glasswright as gw
from glasswright.execution.workers import LocalWorkers


class Local(gw.AbstractExecutor):
    """Works with the cores of this machine, or with its accelerators if it has any; `devices` says with how many.

    On cores each configuration is prepared by itself: in threads at first, and once the work has gone on for half a
    minute in worker processes, each bound to a core. Accelerators prepare many configurations at a time. The processes
    of a run that `srun` has started on several hosts divide the configurations among them.
    """

    def start(self, n_workers: int | None) -> LocalWorkers:
        """Threads, which start worker processes once they are worth it."""
        return LocalWorkers(n_workers)
