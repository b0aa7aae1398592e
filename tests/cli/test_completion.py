"""What the shell offers: commands, keys and the names of components."""

import os
import shutil
import subprocess
import sys

import pytest
from glasswright import cli


def ask(line: str, monkeypatch, capfd, shell: str = "bash") -> list[str]:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert cli.main(["-sc", f"query={shell}"]) == 0
    return capfd.readouterr().out.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("glasswright tr", ["train"]),
        ("glasswright val", ["validate"]),
        ("glasswright plugins ", ["--json", "new", "show"]),
        ("glasswright plugins show poisson", ["poisson_ratio"]),
        ("glasswright plugins new mine --kind prop", ["property"]),
        (
            "glasswright train potential=harm",
            ["potential=harmonic_morse", "potential=harmonic_spring_network"],
        ),
        ("glasswright train train.tol", ["train.tolerance="]),
        ("glasswright measure property=bulk", ["property=bulk_modulus"]),
    ],
)
def test_the_shells_are_offered_names(monkeypatch, capfd, shell, line, offered):
    assert ask(line, monkeypatch, capfd, shell) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_installing_prints_a_script_for_the_program(monkeypatch, capsys, shell):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/glasswright"])
    assert cli.main(["-sc", f"install={shell}"]) == 0
    script = capsys.readouterr().out
    assert "glasswright" in script
    assert "-sc query=" in script
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_the_name_of_a_component(tmp_path):
    """The script that is installed, in a real bash."""
    program = tmp_path / "glasswright"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m glasswright "$@"\n')
    program.chmod(0o755)
    line = "glasswright plugins show poisson"
    script = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv=['glasswright']; from glasswright.cli import main; "
         "main(['-sc', 'install=bash'])"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    ask_bash = (
        f"{script}\nCOMP_LINE='{line}' COMP_POINT={len(line)} COMP_CWORD=3\nhydra_bash_completion\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    result = subprocess.run(
        ["bash", "-c", ask_bash], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert result.stdout.split() == ["poisson_ratio"], result.stderr
