"""The place of this process among those of a run, from the variables of JAX or of SLURM."""

import dataclasses
import os

from .._errors import RequestError

# SLURM says no port. These are unlikely to be taken, and a step of a job has one of its own.
FIRST_PORT, N_PORTS = 61440, 4096


@dataclasses.dataclass(frozen=True)
class Place:
    """Which process of a run this is, and where the processes meet.

    **Attributes:**

    - `rank`, `count`: its number, from 0, and how many there are.
    - `host`, `port`: where the first process listens.
    - `run`: what all processes of one run have in common, and other runs have not.
    - `origin`: the variables that say all this.
    """

    rank: int
    count: int
    host: str
    port: int
    run: str
    origin: str

    @property
    def address(self) -> str:
        """Host and port in one text."""
        return f"{self.host}:{self.port}"


def place() -> Place | None:
    """The place of this process, None if it is alone. `GLASSWRIGHT_HOSTS=off` makes every process a run of its own."""
    switch = os.environ.get("GLASSWRIGHT_HOSTS", "on").lower()
    if switch in ("off", "0", "no", "false"):
        return None
    if switch not in ("on", "1", "yes", "true", ""):
        raise RequestError(f"GLASSWRIGHT_HOSTS={switch}: must be on or off")
    if os.environ.get("JAX_COORDINATOR_ADDRESS") and "JAX_NUM_PROCESSES" in os.environ:
        return _of_jax()
    if os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1" and "SLURM_PROCID" in os.environ:
        return _of_slurm()
    return None


def _of_jax() -> Place | None:
    address = os.environ["JAX_COORDINATOR_ADDRESS"]
    rank, count = _numbers("JAX_PROCESS_ID", "JAX_NUM_PROCESSES")
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdecimal() and 0 < int(port) < 2**16):
        raise RequestError(f"JAX_COORDINATOR_ADDRESS={address}: must be host:port of the first process")
    if count == 1:
        return None
    return Place(rank, count, host.strip("[]"), int(port), address, "JAX_NUM_PROCESSES")


def _of_slurm() -> Place | None:
    rank, count = _numbers("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
    if count == 1:
        return None
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST")
    job, step = os.environ.get("SLURM_JOB_ID", "0"), os.environ.get("SLURM_STEP_ID", "0")
    if not nodes or not job.isdecimal():
        raise RequestError(
            f"SLURM_STEP_NUM_TASKS={count}: SLURM_STEP_NODELIST and SLURM_JOB_ID must say where; or set "
            "GLASSWRIGHT_HOSTS=off, and this process works alone"
        )
    offset = int(job) + 61 * (int(step) if step.isdecimal() else 0)
    return Place(
        rank, count, first_host(nodes), FIRST_PORT + offset % N_PORTS, f"SLURM {job}.{step}", "SLURM_STEP_NUM_TASKS"
    )


def first_host(nodes: str) -> str:
    """The first host of a list of SLURM's: `node[001-004,007],other` begins with node001."""
    first = nodes.split(",")[0]
    prefix, bracket, numbers = first.partition("[")
    if not bracket:
        return first
    start = numbers.partition("]")[0].partition("-")[0]
    # A name may have several brackets: rack[1-2]node[1-9].
    rest = nodes.partition("]")[2]
    return first_host(f"{prefix}{start}{rest}")


def _numbers(rank_name: str, count_name: str) -> tuple[int, int]:
    rank, count = os.environ.get(rank_name, "0"), os.environ[count_name]
    if not (rank.isdecimal() and count.isdecimal() and int(rank) < int(count)):
        raise RequestError(f"{rank_name}={rank}, {count_name}={count}: must be numbers, id below count")
    return int(rank), int(count)


def bind_visible_device() -> None:
    """Give this process its accelerators where several processes share a host; before JAX has looked for any.

    As JAX itself would: those of `JAX_LOCAL_DEVICE_IDS`, or under SLURM the one of `SLURM_LOCALID`, unless SLURM has
    bound the process to one already.
    """
    import jax

    ids, number = os.environ.get("JAX_LOCAL_DEVICE_IDS"), os.environ.get("SLURM_LOCALID")
    if ids is None and number is not None and not _bound() and _shared():
        ids = number
    if ids:
        for vendor in ("cuda", "rocm"):
            jax.config.update(f"jax_{vendor}_visible_devices", ids)  # type: ignore[no-untyped-call]


def _bound() -> bool:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", os.environ.get("ROCR_VISIBLE_DEVICES", ","))
    return "," not in visible


def _shared() -> bool:
    tasks, nodes = (os.environ.get(f"SLURM_STEP_NUM_{name}", "1") for name in ("TASKS", "NODES"))
    return tasks.isdecimal() and nodes.isdecimal() and int(tasks) > int(nodes)
