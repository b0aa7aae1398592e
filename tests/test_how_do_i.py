"""The page *How do I …* answers enough questions, and its commands run as they stand, one after the other."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

PAGE = (ROOT / "docs" / "how_do_i.md").read_text()
# Studies have tests of their own.
NOT_RUN = ("glasswright reproduce zu2024",)


def test_there_are_enough_answers():
    """Each with something that can be typed."""
    answers = re.split(r"^## … ", PAGE, flags=re.MULTILINE)[1:]
    assert len(answers) >= 15
    for answer in answers:
        assert "```" in answer or "`outputs/" in answer, answer.splitlines()[0]


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path):
    """All of them, in the order of the page, in a folder that has the files of the reader's own."""
    packing = (ROOT / "tests" / "reference" / "2d_n368_sp2_a5.extxyz").read_text()
    (tmp_path / "packing.extxyz").write_text(packing)
    (tmp_path / "packings.extxyz").write_text(2 * packing)
    count = 0
    for language, block in re.findall(r"^```(console|python)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        if language == "python":
            run([sys.executable, "-c", "import glasswright as gw\n" + block], tmp_path)
            continue
        for command in re.findall(r"^\$ (.*)$", re.sub(r"\\\n\s*", "", block), re.MULTILINE):
            if not command.startswith(NOT_RUN):
                run([sys.executable, "-m", *shlex.split(command)], tmp_path)
                count += 1
    assert count >= 20
    assert (tmp_path / "outputs" / "trade" / "front.png").exists()
    assert (tmp_path / "outputs" / "film" / "trajectory.extxyz").exists()
    assert (tmp_path / "outputs" / "mine" / "export" / "in.measure").exists()
    assert list((tmp_path / "paper").glob("*.pdf"))


def run(command: list[str], folder: Path) -> None:
    """Run a command, which has to succeed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
