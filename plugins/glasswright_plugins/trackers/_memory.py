"""What trackers with runs of their own keep in a run directory: which of them is this one."""

from pathlib import Path

import glasswright as gw


def kept_identity(run: gw.TrackedRun, file: str) -> str | None:
    """The identity that the first part of a run has kept; None for a run that begins."""
    path = None if run.directory is None else run.directory / file
    return path.read_text().strip() if path is not None and run.first_step and path.exists() else None


def keep_identity(run: gw.TrackedRun, file: str, identity: str) -> None:
    """Keep the identity for when the run goes on."""
    if run.directory is not None:
        (run.directory / file).write_text(f"{identity}\n")


def title(run: gw.TrackedRun) -> str | None:
    """What a run is called: the end of the path of its directory."""
    path = None if run.directory is None else Path(run.directory).resolve()
    return None if path is None else "/".join(path.parts[-2:])


def flat(config: object, prefix: str = "") -> dict[str, str]:
    """A configuration by dotted keys."""
    if isinstance(config, dict):
        entries: dict[str, str] = {}
        for key, value in config.items():
            entries |= flat(value, f"{prefix}.{key}" if prefix else str(key))
        return entries
    return {prefix: str(config)}
