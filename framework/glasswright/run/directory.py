"""The run directory: everything a run leaves behind, written so that a kill at any moment leaves whole files."""

import io
import json
import os
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from .._errors import RunError


def plain(value: Any) -> Any:
    """Numbers, arrays and containers of them as what JSON knows; not-a-number and infinities become null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "dtype") and not isinstance(value, np.generic):
        return plain(np.asarray(value).tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a whole file or none: to a temporary name, synchronised, then renamed."""
    temporary = path.with_name(f".{path.name}.partial")
    data = content.encode() if isinstance(content, str) else content
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; what is not a number becomes null."""
    write_atomically(path, json.dumps(plain(content), indent=1, allow_nan=False) + "\n")


class RunDirectory:
    """Writes the files of one run. Every method leaves the directory readable."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
            self._metrics = open(self.path / "metrics.jsonl", "w")  # noqa: SIM115 - open for the whole run
        except OSError as error:
            raise RunError(f"cannot write into {self.path}: {error.strerror or error}") from error

    def close(self) -> None:
        self._metrics.close()

    def write_json(self, name: str, content: Any) -> None:
        write_json(self.path / name, content)

    def write_text(self, name: str, content: str) -> None:
        write_atomically(self.path / name, content)

    def write_bytes(self, name: str, content: bytes) -> None:
        write_atomically(self.path / name, content)

    def append_metrics(self, line: dict[str, Any]) -> None:
        """One step's line, visible to others as soon as this returns."""
        try:
            self._metrics.write(json.dumps(plain(line), allow_nan=False) + "\n")
            self._metrics.flush()
        except OSError as error:
            raise RunError(f"cannot write {self.path / 'metrics.jsonl'}: {error.strerror or error}") from error

    def write_checkpoint(self, step: int, state: Any) -> None:
        """The training state before `step`; the last two are kept."""
        folder = self.path / "checkpoints"
        content = io.BytesIO()
        eqx.tree_serialise_leaves(content, state)
        write_atomically(folder / f"step_{step:08d}.eqx", content.getvalue())
        for old in sorted(folder.glob("step_*.eqx"))[:-2]:
            old.unlink()
