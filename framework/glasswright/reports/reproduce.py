"""Running a study: jobs side by side, skipped where they are complete, resumed where they were cut off; the verdict."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .._errors import RequestError, RunError
from .._types import JSON
from ..components.study import SCALES, AbstractStudy, Scale, StudyJob, StudyRun
from ..plots.options import PlotOptions
from ..run.claim import locked, result_in, run_in
from ..run.files import make_folder, plain, read_json, read_lines, write_json
from ..run.listing import COMMANDS, DONE, FAILED, RUNNING, read_mapping, state_of
from ..run.pictures import write_picture

# What was asked for, in the folder of a study: nothing else may be continued there.
REQUEST = "study.json"
VERDICT = "verdict.json"
# What the jobs took. It differs from run to run, and the verdict does not.
ACCOUNTING = "accounting.json"
# Messages of a job that has no directory yet.
LOG = "output.log"
SECONDS_BETWEEN_LOOKS = 0.2
# Others begin anew where they were cut off.
RESUMABLE_COMMANDS = ("train", "validate")


@dataclasses.dataclass(frozen=True)
class StudyRequest:
    """What is to be reproduced.

    **Attributes:**

    - `name`, `study`, `scale`: which study at which scale.
    - `overrides`: further overrides of every job.
    - `folder`: where its run directories, its figure and its verdict go.
    - `parallel`: how many jobs run at a time.
    """

    name: str
    study: AbstractStudy
    scale: Scale
    overrides: tuple[str, ...]
    folder: Path
    parallel: int

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise RequestError(f"scale={self.scale}: possible: {', '.join(SCALES)}")
        if self.parallel < 1:
            raise RequestError(f"--jobs {self.parallel}: must be at least one")


def reproduce(request: StudyRequest, tell: Callable[[str], None]) -> dict[str, JSON]:
    """Run what is left of a study; returns what `verdict.json` holds.

    **Arguments:**

    - `tell`: is called with a line about each job that begins or ends.
    """
    folder, jobs = request.folder, checked_jobs(request.study, request.scale)
    make_folder(folder)
    asked = {"study": request.name, "scale": request.scale, "overrides": list(request.overrides)}
    path = folder / REQUEST
    if path.exists() and read_json(path) != asked:
        raise RequestError(f"--output {folder}: holds another study, or other overrides: {json.dumps(read_json(path))}")
    with locked(folder, f"--output {folder}"):
        write_json(path, asked)
        _run_all(request, jobs, tell)
        runs = {job.name: finished_run(folder / job.name) for job in jobs}
        claims = [dataclasses.asdict(claim) for claim in request.study.claims(request.scale, runs)]
        about = {"title": request.study.title, "source": request.study.source}
        verdict: dict[str, JSON] = plain({**asked, **about, **_counts(jobs, runs), "claims": claims})
        options = PlotOptions(format=("png", "pdf"))
        write_picture(folder, "figure", request.study.figure(request.scale, runs, options), options)
        # Last: a study with a verdict is complete.
        write_json(folder / VERDICT, verdict)
    return verdict


def _counts(jobs: Sequence[StudyJob], runs: Mapping[str, StudyRun]) -> dict[str, JSON]:
    """How many jobs there were and how many have failed, and the seeds of those that read no other job."""
    seeds = {read_mapping(runs[job.name].directory / "config.yaml").get("seed") for job in jobs if not job.reads}
    failed = sum(run.state == FAILED for run in runs.values())
    return {"jobs": len(jobs), "failed": failed, "seeds": sorted(seeds - {None})}


class _Spending:
    """What the jobs of a study have taken so far, in this call and in earlier ones, kept in a file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ACCOUNTING
        self._earlier = read_json(self._path) if self._path.exists() else {}
        self._begun, self._used = time.monotonic(), _seconds_of_jobs()

    def save(self) -> None:
        """Write what was taken up to the job that has just ended; the time of a job that is killed is not counted."""
        wall, used = time.monotonic() - self._begun, _seconds_of_jobs() - self._used
        content = {
            "wall_seconds": round(self._earlier.get("wall_seconds", 0.0) + wall, 1),
            "processor_seconds": round(self._earlier.get("processor_seconds", 0.0) + used, 1),
            "processors": os.cpu_count(),
        }
        write_json(self._path, content)


def _seconds_of_jobs() -> float:
    """Processor time of the processes that were started here and have ended, with those that they started."""
    times = os.times()
    return times.children_user + times.children_system


def checked_jobs(study: AbstractStudy, scale: Scale) -> list[StudyJob]:
    """The jobs of a study, each after those whose directories it reads."""
    jobs: list[StudyJob] = []
    for job in study.jobs(scale):
        known = {earlier.name for earlier in jobs}
        if job.name in known or not job.name or Path(job.name).name != job.name:
            raise ValueError(f"{type(study).__name__}: job {job.name!r} needs a name of its own that a folder can have")
        missing = [name for name in job.reads.values() if name not in known]
        if missing:
            raise ValueError(
                f"{type(study).__name__}: job {job.name} reads {missing[0]}, which does not come before it"
            )
        if job.command not in COMMANDS.values():
            raise ValueError(f"{type(study).__name__}: job {job.name}: {job.command} is no command")
        jobs.append(job)
    return jobs


def has_ended(folder: Path) -> bool:
    """Whether a job needs nothing more: it is done, or has failed, which is a result too."""
    return run_in(folder) is not None and state_of(folder)[0] in (DONE, FAILED)


def finished_run(folder: Path) -> StudyRun:
    """A job that has ended, with its report and its lines."""
    state, why = state_of(folder)
    finished = result_in(folder)
    report = {} if finished is None else read_json(folder / finished)
    lines = read_lines(folder / "metrics.jsonl") or read_lines(folder / "configurations.jsonl")
    return StudyRun(folder, state, why, report, lines)


def _run_all(request: StudyRequest, jobs: Sequence[StudyJob], tell: Callable[[str], None]) -> None:
    """Run every job that has not ended, in processes of their own, those first that others read."""
    waiting = {job.name: job for job in jobs if not has_ended(request.folder / job.name)}
    tell(f"{len(jobs) - len(waiting)} of {len(jobs)} jobs have ended already")
    running: dict[str, subprocess.Popen[bytes]] = {}
    spending = _Spending(request.folder)
    try:
        while waiting or running:
            for name, process in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    _check_ended(request.folder, name, process)
                    spending.save()
                    tell(f"{name}: {state_of(request.folder / name)[0]}")
            for name, job in list(waiting.items()):
                if len(running) >= request.parallel:
                    break
                if set(job.reads.values()) & {*waiting, *running}:
                    continue
                folder = request.folder / name
                if has_ended(folder):  # a process of an earlier call has come to its end
                    del waiting[name]
                elif not _is_busy(folder):
                    del waiting[name]
                    running[name] = _start(request, job, tell)
            time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        for process in running.values():
            process.terminate()  # a training writes a checkpoint first
        for process in running.values():
            process.wait()


def _is_busy(folder: Path) -> bool:
    """Whether a job that an earlier call has started still runs: that was killed, and its jobs were not."""
    return folder.is_dir() and state_of(folder)[0] == RUNNING


def _start(request: StudyRequest, job: StudyJob, tell: Callable[[str], None]) -> "subprocess.Popen[bytes]":
    folder = request.folder / job.name
    begun = run_in(folder) is not None
    resumed = begun and job.command in RESUMABLE_COMMANDS
    words = ["resume", str(folder)] if resumed else [job.command, *job.overrides, *request.overrides]
    if not resumed:
        words += [f"{key}='{(request.folder / name).resolve()}'" for key, name in job.reads.items()]
        words += [f"hydra.run.dir='{folder.resolve()}'", *(["overwrite=true"] if begun else [])]
        if job.command != "measure":
            # As many cores as are left for it; no result depends on it.
            words += [f"devices={max(1, (os.cpu_count() or 1) // request.parallel)}"]
    tell(f"{job.name}: {'goes on' if resumed else 'begins'}")
    make_folder(folder)
    with open(folder / LOG, "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "glasswright", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def _check_ended(folder: Path, name: str, process: "subprocess.Popen[bytes]") -> None:
    """Raise `RunError` for a job that has neither a result nor failed in its work: it was stopped, or asked wrongly."""
    if has_ended(folder / name):
        return
    log = (folder / name / LOG).read_text(errors="replace").strip().splitlines() or ["it has said nothing"]
    raise RunError(f"job {name} ended with exit code {process.returncode}: {log[-1]}")


def describe(verdict: Mapping[str, JSON]) -> list[str]:
    """A verdict in lines for the terminal."""
    lines = []
    for claim in verdict["claims"]:
        measured = "–" if claim["measured"] is None else f"{claim['measured']:.5g}"
        error = "" if claim["error"] is None else f" ± {claim['error']:.2g}"
        lines.append(f"{claim['verdict']:9}  {claim['claim']}")
        lines.append(
            f"{'':9}  published {claim['published']}, measured {measured}{error} (n = {claim['n']}): {claim['reason']}"
        )
    return lines
