"""Every command of the documentation runs, page by page and in the order of the page.

What a command is shortened by, what a page takes for granted, and which commands no test can run stand in the tables
below. `tests/test_how_do_i.py` runs the commands of its page as they are.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT
from test_docs import COMMAND_PAGES, PAGES, blocks, commands

REFERENCE = ROOT / "tests" / "reference" / "2d_n368_sp2_a5.extxyz"
EXTENDING = ROOT / "docs" / "extending.md"
RUN_HERE = [*COMMAND_PAGES, ROOT / "docs" / "analysis.md", EXTENDING]

# What commands are given to end soon. Numbers that are larger on the page are replaced, those that are not there added.
SHORTENED = {
    "train": {"train.steps": 2},
    "validate": {"n_configurations": 3, "n_untrained": 2},
    "analyse": {"n_configurations": 3},
    "resume": {},
    "measure": {},
}
# Numbers that are reduced where the page has larger ones.
REDUCED = {
    "train.steps": 4,
    "n_configurations": 3,
    "n_untrained": 2,
    "sampler.size": 4,
    "system.n_particles": 512,
    "hydra.sweeper.n_trials": 2,
}
# Presets whose steps take long, with what makes them shorter: fewer or smaller packings.
SMALLER = {
    "composition": {"sampler.size": 4},
    "ensemble_poisson": {"sampler.size": 2},
    "ensemble_poisson_pressure": {"sampler.size": 2},
    "kob_andersen": {"sampler.size": 2, "system.n_particles": 256},
    "multi_configuration": {"sampler.size": 2},
    "quick_ensemble": {"sampler.size": 2},
    "robust": {"sampler.size": 2},
    "shear_amplitude": {"sampler.size": 4},
    "temperature_ramp": {"sampler.size": 4},
    "q8": {"sampler.size": 2},
}

# Commands that are not run, by what they begin with or contain, and why.
NOT_RUN = {
    "--config-dir FOLDER experiment=NAME": "FOLDER and NAME stand for the reader's own",
    "executor.address=tcp://node1:8786": "needs a Dask cluster of several hosts",
    "glasswright reproduce zu2024": "a study takes minutes to days; tests/reports/test_reproduce.py runs its machinery",
}
# In scripts, which are no console sessions.
SCRIPTS = {
    "srun glasswright": "needs SLURM",
    "glasswright train seed=$SLURM_PROCID": "needs SLURM",
    "exec glasswright": "needs SLURM",
    "hydra/launcher=submitit_slurm": "needs SLURM",
    "glasswright train experiment=ensemble_poisson sampler.size=64": "is for a machine with an accelerator",
    ".venv/bin/glasswright train": "needs the network to install; CI runs it",
    "glasswright doctor": "tests/cli/test_cli.py runs it",
}


def is_run(command: str) -> bool:
    return not any(words in command for words in NOT_RUN)


def test_every_command_is_run_or_has_a_reason():
    """Console sessions are run here or with their page, scripts are listed, and no reason is left over."""
    elsewhere = {page.name for page in PAGES} - {page.name for page in RUN_HERE}
    assert {name for name in elsewhere if commands(ROOT / "docs" / name)} == {"how_do_i.md"}
    every = [command for page in [ROOT / "README.md", *PAGES] for command in commands(page)]
    for words in NOT_RUN:
        assert any(words in command for command in every), words
    scripts = [
        line
        for page in [ROOT / "README.md", *PAGES]
        for block in blocks(page, "bash")
        for line in re.sub(r"\\\n\s*", "", block).splitlines()
        if "glasswright " in line and "pip install" not in line.partition("glasswright ")[2]
    ]
    for line in scripts:
        assert any(words in line for words in SCRIPTS), line


def shortened(words: list[str]) -> list[str]:
    """The words of a command that is to end soon."""
    program, name, *arguments = words
    if name not in SHORTENED or any(word in ("--help", "--cfg", "--info") for word in arguments):
        return words
    limits = REDUCED | SHORTENED[name]
    added = dict(SHORTENED[name])
    for argument in arguments:
        added |= SMALLER.get(argument.removeprefix("experiment="), {}) if name == "train" else {}
    if name == "analyse" and any(word.startswith("configuration=") for word in arguments):
        added = {}
    if name == "analyse" and any(word.startswith("run=outputs/single") for word in arguments):
        added = {}
    result = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        added.pop(key, None)
        if equals and key in limits and value.isdigit() and int(value) > limits[key]:
            argument = f"{key}={limits[key]}"
        result.append(argument)
    return [program, name, *result, *(f"{key}={value}" for key, value in added.items())]


class Reader:
    """Somebody who types the commands of a page one after the other, in a folder of their own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.failures: list[str] = []
        self.environment = dict(os.environ)
        packing = REFERENCE.read_text()
        (folder / "packing.extxyz").write_text(packing)
        (folder / "packings.extxyz").write_text(2 * packing)
        (folder / "pair_correlation.csv").write_text("1\n" * 50)
        (folder / "force_field.txt").write_text("0.8 42.1\n0.9 9.1\n1.0 0.0\n1.1 -0.98\n1.3 -0.66\n2.5 0.0\n")

    def type(self, command: str) -> None:
        """Run a command, with what it takes for granted before it."""
        words, tail = command, ""
        # Only the redirections that every shell has.
        for sign in (" > ", " | "):
            words, found, rest = words.partition(sign)
            tail += found + rest
        tail = tail.replace(" | source", "")
        arguments = shlex.split(words, comments=True)
        for argument in arguments[1:]:
            self.take_for_granted(arguments[1], argument.partition("=")[2] or argument)
        self.run(shlex.join(shortened(arguments)) + tail)

    def take_for_granted(self, name: str, path: str) -> None:
        """Make a run, or a sweep, that the page speaks of and that none of its commands has made under this name."""
        match = re.fullmatch(r"outputs/(\w+)(/2026-01-01_00-00-00)?", path)
        if match is None:
            return
        folder = self.folder / path
        if match[2] and not folder.exists():
            self.run(shlex.join(shortened(["glasswright", "train", f"experiment={match[1]}", f"hydra.run.dir={path}"])))
        elif not match[2] and not folder.exists() and name in ("plot", "report"):
            sweep = f"hydra.sweep.dir={path}"
            words = ["glasswright", "train", "-m", f"experiment={match[1]}", "terms.pressure.weight=1,10", sweep]
            self.run(shlex.join(shortened(words)))
        if name == "resume" and (folder / "result.json").exists():
            # As a kill between the last step and the result leaves it.
            (folder / "result.json").unlink()

    def run(self, line: str) -> None:
        """Run a line in the shell, and keep what it said if it failed."""
        line = re.sub(r"^glasswright ", f"{shlex.quote(sys.executable)} -m glasswright ", line)
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line}"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            self.failures.append(f"{line}\n(exit code {done.returncode})\n{done.stdout[-500:]}\n{done.stderr[-1500:]}")


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in RUN_HERE if commands(page)], ids=lambda page: page.name)
def test_the_commands_of_a_page_run(page, tmp_path):
    reader = Reader(tmp_path)
    if page == EXTENDING:
        install_the_examples(reader)
    for command in commands(page):
        if is_run(command):
            reader.type(command)
    assert not reader.failures, "\n\n".join(reader.failures)


def install_the_examples(reader: Reader) -> None:
    """The package of the page, the one that `plugins new` makes there, and the protocol that is to be trained with."""
    site = reader.folder / "site"
    package = site / "glasswright_contacts"
    (package / "conf" / "experiment").mkdir(parents=True)
    sources = blocks(EXTENDING, "python")
    (contacts,) = [source for source in sources if "class ContactNumber" in source and "@gw.hookimpl" in source]
    (shaken,) = [source for source in sources if "class Shaken" in source]
    (preset,) = blocks(EXTENDING, "yaml")
    (package / "__init__.py").write_text(contacts)
    (package / "conf" / "__init__.py").touch()
    (package / "conf" / "experiment" / "fewer_contacts.yaml").write_text(preset)
    (site / "shaken.py").write_text(shaken)
    # What pip would have left: the name, the version and the entry points.
    for name, modules in {
        "glasswright-contacts": ["contacts = glasswright_contacts"],
        "an-example": ["shaken = shaken"],
        "glasswright-neighbours": ["neighbours = glasswright_neighbours"],
    }.items():
        metadata = site / f"{name.replace('-', '_')}-0.1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
        (metadata / "entry_points.txt").write_text("\n".join(["[glasswright]", *modules]) + "\n")
    made = reader.folder / "glasswright-neighbours"
    path = [str(site), str(made / "src"), str(made), os.environ.get("PYTHONPATH", "")]
    reader.environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
