"""Whether two checkouts of glasswright compute the same numbers, to the last digit.

    python benchmarks/compare_checkouts.py BEFORE AFTER [--only NAME …] [--keep FOLDER] [--reuse FOLDER]
                                           [--python BEFORE_PYTHON AFTER_PYTHON]

Runs the commands of `checkout_cases.py` in both, one at a time, and compares what they leave behind: every number, text
and key of the files in `READERS`, but for `seconds` and the place of the folder. One line for each file says that it
is equal, with the keys that only AFTER writes, or where it differs first. Some cases let AFTER go on with folders that
BEFORE has written: a training that SIGTERM interrupted, a validation that was cut short, finished runs. The exit code
is 1 if anything differs or fails.

A Python that runs a checkout needs what that checkout depends on, and a glasswright installed in whatever way for the
names of its plugins; the code itself is taken from the checkout, which is verified. Everything runs on the CPU, where
results are meant to be reproducible. Programs that one side has compiled are found by the other one.

`--keep` keeps what both have computed, in `FOLDER/before` and `FOLDER/after`. `--reuse` takes that `before` in place of
running BEFORE once more, if its revision and the versions of its packages are still the same. Other kinds of processors
may round differently: compare on the one where BEFORE has run.
"""

import argparse
import io
import json
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from checkout import Checkout, Failure, Identity
from checkout_cases import CASES, REFERENCES, AbstractCase, dependents, select

# Wall time differs between any two runs.
IGNORED = "seconds"


class Missing:
    """In place of what one side does not have."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = Missing()


class Difference(NamedTuple):
    """Where two contents differ, and how."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        before, after = (text if len(text) < 100 else f"{text[:97]}..." for text in map(repr, self[1:]))
        return f"{self.path}: {before} != {after}"


def first_difference(before: Any, after: Any, path: str = "$") -> Difference | None:
    """The first place where two contents are not the same: in type, in any digit, in the sign of a zero.

    Keys that only the later one has are no difference: see `new_keys`.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [key for key in before if key != IGNORED]
        pairs = [(before.get(key, MISSING), after.get(key, MISSING), f"{path}.{key}") for key in keys]
    elif isinstance(before, list) and isinstance(after, list):
        longest = range(max(len(before), len(after)))
        pairs = [(_item(before, k), _item(after, k), f"{path}[{k}]") for k in longest]
    elif type(before) is type(after) and repr(before) == repr(after):
        return None
    else:
        return Difference(path, before, after)
    differences = (first_difference(*pair) for pair in pairs)
    return next((difference for difference in differences if difference is not None), None)


def new_keys(before: Any, after: Any, path: str = "$") -> list[str]:
    """The keys of mappings that only the later content has, those in the items of a list once."""
    if isinstance(before, dict) and isinstance(after, dict):
        new = [f"{path}.{key}" for key in after if key not in before]
        inner = [new_keys(before[key], after[key], f"{path}.{key}") for key in after if key in before]
    elif isinstance(before, list) and isinstance(after, list):
        new, inner = [], [new_keys(*pair, f"{path}[]") for pair in zip(before, after, strict=False)]
    else:
        return []
    return list(dict.fromkeys(sum(inner, new)))


def _item(items: list[Any], k: int) -> Any:
    return items[k] if k < len(items) else MISSING


def _read_json_lines(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()]


def _read_packings(data: bytes) -> list[Any]:
    """Lattice and positions of each packing as they are written; other columns have changed between versions."""
    lines: list[str] = data.decode().splitlines()
    packings: list[Any] = []
    while lines:
        n_particles, header = int(lines[0]), lines[1]
        lattice = re.search(r'Lattice="([^"]*)"', header)
        columns = re.search(r"Properties=\w+:[SI]:1:pos:R:3", header)
        assert lattice is not None
        assert columns is not None, header
        packings.append([lattice[1], [row.split()[1:4] for row in lines[2 : 2 + n_particles]]])
        lines = lines[2 + n_particles :]
    return packings


def _read_arrays(data: bytes) -> dict[str, bytes]:
    """The arrays of an archive as bytes, which are equal where all numbers are."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


READERS: dict[str, Callable[[bytes], Any]] = {
    "config.yaml": yaml.safe_load,
    "metrics.jsonl": _read_json_lines,
    "result.json": json.loads,
    "final.extxyz": _read_packings,
    "validation.json": json.loads,
    "configurations.jsonl": _read_json_lines,
    "measure.json": json.loads,
    "analysis.json": json.loads,
    "bonds.npz": _read_arrays,
}
# One of these ends every command: without any there is nothing to compare.
RESULTS = ("result.json", "validation.json", "measure.json", "analysis.json")


class Compared(NamedTuple):
    """A file of both sides: where it differs first, and what only the later one says."""

    file: Path
    difference: Difference | None
    new: list[str]

    def __str__(self) -> str:
        if self.difference is not None:
            return f"differs at {self.difference}"
        return f"equal, and new: {', '.join(self.new)}" if self.new else "equal"


def compare(name: str, before: Path, after: Path) -> Iterator[Compared]:
    """Each file that a case has left on either side."""
    files = sorted({*_files(before / name), *_files(after / name)})
    if not any(file.name in RESULTS for file in files):
        raise Failure("no side has left a result")
    for file in files:
        contents = [_content(root, root / name / file) for root in (before, after)]
        yield Compared(file, first_difference(*contents), new_keys(*contents))


def _files(folder: Path) -> list[Path]:
    """Files to compare, also those of the jobs of a sweep."""
    return [
        path.relative_to(folder) for path in folder.rglob("*") if path.name in READERS and ".hydra" not in path.parts
    ]


def _content(root: Path, path: Path) -> Any:
    """What a file says, with the same name for the place where commands were started."""
    if not path.exists():
        return MISSING
    return READERS[path.name](path.read_bytes().replace(str(root).encode(), b"ROOT"))


class Seconds(NamedTuple):
    """How long something took, on the clock and on the processors, which other programs disturb less."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> "Seconds":
        """Both clocks; that of the processors is of all commands that have ended."""
        times = os.times()
        return cls(times.elapsed, times.children_user + times.children_system)


class Record:
    """What has been run in a folder: which cases, by whom, in how many seconds."""

    def __init__(self, root: Path):
        self._path = root / "record.json"
        self._entries: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def add(self, case: AbstractCase, identity: Identity, seconds: Seconds) -> None:
        """Keep that a case has been run, and forget those that have used its folder of before."""
        for name in dependents(case.name):
            self._entries.pop(name, None)
        self._entries[case.name] = {"case": repr(case), "identity": list(identity), "seconds": seconds}
        self._path.write_text(json.dumps(self._entries, indent=1) + "\n")

    def has(self, case: AbstractCase, identity: Identity) -> bool:
        """Whether this very case has been run, by the same revision with the same packages."""
        entry = self._entries.get(case.name, {})
        return (entry.get("case"), entry.get("identity")) == (repr(case), list(identity))


class Comparison:
    """Runs cases and says what came of them.

    - `before`, `after`: the checkouts.
    - `reuse`: whether what BEFORE left is there already.
    """

    def __init__(self, before: Checkout, after: Checkout, reuse: bool):
        self._before, self._after, self._reuse = before, after, reuse
        self._identity = before.identify()
        self._record = Record(before.root)
        for checkout, identity in ((before, self._identity), (after, after.identify())):
            print(f"{checkout.title}: {checkout.folder}, revision {identity.revision or 'unknown'}", flush=True)
            difference = first_difference(self._identity.versions, identity.versions)
            if difference is not None:
                print(f"note: packages differ, which may change numbers: {difference}", flush=True)

    def check_reused(self, cases: Sequence[AbstractCase]) -> None:
        """Refuse what was kept of another revision, or of a case that has changed since."""
        missing = [case.name for case in cases if not self._record.has(case, self._identity)]
        if missing:
            raise Failure(
                f"{self._before.root} has not all cases as BEFORE would run them now; "
                f"run it with --keep {self._before.root.parent} --only {' '.join(missing)}"
            )

    def run(self, case: AbstractCase) -> int:
        """Run and compare one case; how many files differ, a failure counting as one."""
        try:
            if not self._reuse:
                self._record.add(case, self._identity, self._timed(case, self._before))
            if case.compared:
                self._timed(case, self._after)
            files = list(compare(case.name, self._before.root, self._after.root)) if case.compared else []
        except Failure as failure:
            _say(case, "-", failure)
            return 1
        for compared in files:
            _say(case, str(compared.file), compared)
        return sum(compared.difference is not None for compared in files)

    def _timed(self, case: AbstractCase, checkout: Checkout) -> Seconds:
        shutil.rmtree(checkout.root / case.name, ignore_errors=True)
        start = Seconds.now()
        case.run(checkout, self._before)
        seconds = Seconds(*(round(end - begin, 1) for begin, end in zip(start, Seconds.now(), strict=True)))
        _say(case, checkout.title, f"{seconds.wall} s, {seconds.processor} s of processors")
        return seconds


def _say(case: AbstractCase, what: str, verdict: object) -> None:
    print(f"{case.name:26s} {what:22s} {verdict}", flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Whether two checkouts compute the same numbers, to the last digit.")
    parser.add_argument("before", type=Path, metavar="BEFORE", help="a checkout of glasswright")
    parser.add_argument("after", type=Path, metavar="AFTER", help="the other one, for instance of a later revision")
    parser.add_argument(
        "--only",
        nargs="+",
        action="extend",
        default=[],
        choices=[case.name for case in CASES],
        metavar="NAME",
        help="these cases, and those whose folders they need (default: all)",
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the outputs of both in this folder")
    parser.add_argument("--reuse", type=Path, metavar="FOLDER", help="take BEFORE's outputs from there, kept earlier")
    parser.add_argument(
        "--python",
        nargs=2,
        default=[sys.executable, sys.executable],
        metavar=("BEFORE_PYTHON", "AFTER_PYTHON"),
        help="what runs either checkout (default: what runs this script)",
    )
    return parser.parse_args(arguments)


def _checkouts(options: argparse.Namespace, temporary: Path) -> tuple[Checkout, Checkout]:
    """Both checkouts, with the packings that commands read at the same relative place."""
    new = (options.keep or temporary).resolve()
    old = options.reuse.resolve() if options.reuse else new
    before, after = options.before.resolve(), options.after.resolve()
    shutil.rmtree(new / "after", ignore_errors=True)
    checkouts = (
        Checkout("before", before, options.python[0], old / "before", old / "compiled"),
        Checkout("after", after, options.python[1], new / "after", old / "compiled"),
    )
    for checkout in checkouts:
        (checkout.root / "inputs").mkdir(parents=True, exist_ok=True)
        for name in REFERENCES:
            shutil.copy(before / "tests" / "reference" / f"{name}.extxyz", checkout.root / "inputs")
    return checkouts


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two checkouts; 0 if all that they compute is equal."""
    options = _parse(arguments)
    cases = select(options.only)
    with tempfile.TemporaryDirectory(prefix="glasswright-compare-") as temporary:
        try:
            comparison = Comparison(*_checkouts(options, Path(temporary)), reuse=options.reuse is not None)
            if options.reuse:
                comparison.check_reused(cases)
        except (Failure, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        n_different = sum(comparison.run(case) for case in cases)
    print(f"{len(cases)} cases: {f'{n_different} differences or failures' if n_different else 'all equal'}")
    return 1 if n_different else 0


if __name__ == "__main__":
    raise SystemExit(main())
