"""The command line as somebody types it: exit codes, one line on stderr, no directory for a wrong request."""

import json
import resource
import subprocess
import sys

import glasswright as gw
import pytest
from glasswright import cli
from helpers import ROOT, glasswright

REFERENCE = ROOT / "tests" / "reference" / "2d_n368_sp2_a5.extxyz"


@pytest.fixture
def run_here(tmp_path, monkeypatch, capsys):
    """Run a command in this process, in a directory of its own: exit code, stderr, what was left behind."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, list[str]]:
        code = cli.main(list(arguments))
        return code, capsys.readouterr().err, sorted(path.name for path in tmp_path.iterdir())

    return run


WRONG = [
    (["trian"], "did you mean 'train'?"),
    (["train", "potentail=harmonic_morse"], "did you mean 'potential'?"),
    (["train", "train.steps=abc"], "must be an integer"),
    (["train", "+hydra.callbacks.x={_target_: subprocess.call, args: [touch, executed]}"], "refused"),
    (["train", "--multirun", "seed=1,-2"], "seed=-2: must be an integer of at least 0"),
    (["train", "property=[pressure"], "cannot be read"),
    (["train", "--no-such-option"], "--no-such-option"),
    (["train", "--cfg", "job", "--package", "sytem"], "--package sytem: --cfg job shows no such part"),
    (["train", "--cfg", "job", "--package", "hydra"], "--package hydra: --cfg job shows no such part"),
    (["train", "train.steps"], "train.steps: is neither an option nor key=value"),
    (["train", "train.steps = 2"], "write it without blanks around the sign: train.steps=2"),
    (["train", "=2"], "=2: has no key before the sign"),
    (["train", "seed=99999999999999999999"], "seed=99999999999999999999: must be an integer of at most"),
    (["measure", "configuration="], "configuration='': must be the name of a file"),
    (["validate", "run="], "run='': must be the name of a directory"),
    (["resume"], "the following arguments are required: DIR"),
    (["help", "trian"], "'trian' is no command"),
    (["measure"], "configuration is required"),
    (["measure", "configuration=missing.extxyz"], "missing.extxyz: no such file"),
]


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("arguments", "message"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_wrong_request_gets_one_line_and_no_directory(run_here, arguments, message):
    code, error, left = run_here(*arguments)
    assert (code, left) == (cli.REQUEST_WRONG, [])
    (line,) = error.splitlines()
    assert line.startswith("glasswright: error: ")
    assert message in line
    assert "KEY=VALUE" not in line


@pytest.mark.wrong_types
@pytest.mark.parametrize(("arguments", "message"), [WRONG[0], WRONG[3]], ids=["command", "callback"])
def test_a_process_of_its_own_refuses_alike(tmp_path, arguments, message):
    result = glasswright(*arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (cli.REQUEST_WRONG, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("glasswright: error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.wrong_types
def test_a_malformed_configuration_file_is_refused(run_here, tmp_path):
    lines = REFERENCE.read_text().splitlines(keepends=True)
    (tmp_path / "broken.extxyz").write_text("not a number\n")
    (tmp_path / "truncated.extxyz").write_text("".join(lines[: len(lines) // 2]))
    flat = '2\nLattice="8 0 0 0 8 0 0 0 1" Properties=species:S:1:pos:R:3 pbc="T T F"\nA 1 1 0\nA 2 1 0\n'
    (tmp_path / "surplus.extxyz").write_text(flat + "A 3 1 0\n")
    (tmp_path / "slab.extxyz").write_text(flat.replace("2 1 0", "2 1 3"))
    for name, reason in (
        ("broken", "line 1: must be the number of particles"),
        ("truncated", "truncated?"),
        ("surplus", "line 5: 'A 3 1 0' is neither one of the 2 particles announced"),
        ("slab", "line 4: z is 3 and 0 for the first particle"),
    ):
        code, error, left = run_here("measure", f"configuration={name}.extxyz")
        assert code == 2
        assert f"{name}.extxyz: " in error
        assert reason in error
        assert error.count("\n") == 1
        assert left == ["broken.extxyz", "slab.extxyz", "surplus.extxyz", "truncated.extxyz"]


@pytest.mark.wrong_types
def test_a_packing_that_is_not_at_a_minimum_is_refused(run_here):
    code, error, left = run_here("measure", f"configuration={REFERENCE}", "potential.stiffness=7")
    assert (code, left) == (2, [])
    assert "max|F|" in error
    assert "relax=true" in error


def test_measure_checks_its_keys(run_here):
    for override, message in (
        ("+system.n_particles=3", "come from configuration=FILE"),
        ("relax=maybe", "relax='maybe': must be true or false"),
        ("property=[poison_ratio]", "did you mean 'poisson_ratio'?"),
        ("potential.n_species=3", "potential.n_species=3"),
    ):
        code, error, left = run_here("measure", f"configuration={REFERENCE}", override)
        assert (code, left) == (2, []), error
        assert message in error


@pytest.fixture
def trained(monkeypatch):
    """Replace training by something quick that can be told to fail; returns the experiments it was given."""
    from glasswright.jobs import train as _train

    experiments = []

    def train(experiment, directory, *, progress):
        experiments.append(experiment)
        if experiment.seed == 13:
            raise ArithmeticError("unlucky\nseed")
        (directory / "result.json").write_text("{}")
        return {"loss": 0.5, "success": False, "steps": 1, "seconds": 0.1}

    monkeypatch.setattr(_train, "train", train)
    return experiments


def test_a_run_gets_a_directory_named_after_its_experiment(run_here, tmp_path, trained):
    assert run_here("train", "seed=3") == (0, "", ["outputs"])
    (run,) = (tmp_path / "outputs" / "single_poisson").iterdir()
    assert sorted(path.name for path in run.iterdir()) == [".hydra", "result.json"]
    assert trained[0].seed == 3


def test_a_failed_run_is_one_line_and_exit_code_one(run_here, trained, monkeypatch):
    code, error, _ = run_here("train", "seed=13")
    assert (code, error) == (1, "glasswright: error: ArithmeticError: unlucky seed\n")
    monkeypatch.setenv("GLASSWRIGHT_TRACEBACK", "1")
    code, error, _ = run_here("train", "seed=13")
    assert code == 1
    assert "Traceback" in error


def test_what_a_preset_lost_is_noted(run_here, trained):
    code, error, _ = run_here("train", "optimizer=adam")
    assert code == 0
    assert error.startswith(
        "glasswright: note: dropped from experiment 'single_poisson': optimizer.learning_rate=0.003"
    )
    assert error.count("\n") == 1


def test_multirun_sweeps_over_sets_of_properties(run_here, tmp_path, trained):
    code, _, _ = run_here(
        "train",
        "-m",
        "property=[pressure],[poisson_ratio,pressure]",
        "terms.pressure.objective.target=0.4",
        "seed=1,2",
    )
    assert code == 0
    assert [list(experiment.terms) for experiment in trained] == [["pressure"]] * 2 + [
        ["poisson_ratio", "pressure"]
    ] * 2
    assert float(trained[-1].terms["poisson_ratio"].objective.target) == 0.35
    (sweep,) = (tmp_path / "outputs" / "single_poisson").iterdir()
    assert {"0", "1", "2", "3", "multirun.yaml"} <= {path.name for path in sweep.iterdir()}


@pytest.mark.wrong_types
def test_multirun_refuses_before_any_job_runs(run_here, trained):
    code, error, left = run_here("train", "-m", "property=[poisson_ratio],[pressure]")
    assert (code, left, trained) == (2, [], [])
    assert "terms.pressure.objective.target is required" in error


def test_the_configuration_can_be_shown(run_here, capsys):
    assert cli.main(["train", "--cfg", "job", "train.steps=5"]) == 0
    shown = capsys.readouterr().out
    assert "steps: 5" in shown
    assert "_target_: glasswright_plugins.potentials.harmonic_morse.HarmonicMorse" in shown
    assert run_here("train", "--cfg", "job", "train.stps=5")[0] == 2
    assert cli.main(["train", "--cfg", "job", "--package", "train"]) == 0
    assert capsys.readouterr().out.startswith("# @package train\n")


@pytest.mark.parametrize("arguments", [["--version"], ["-V"], ["train", "--version"], ["plugins", "--version"]])
def test_the_version_is_ours(capsys, arguments):
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out == f"glasswright {gw.__version__}\n"


def test_completion_offers_components(monkeypatch, capfd):
    line = "glasswright train potential=harm"
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert cli.main(["-sc", "query=bash"]) == 0
    assert "potential=harmonic_morse" in capfd.readouterr().out


def test_help_version_and_plugins_are_quick(tmp_path):
    for arguments, text in (
        (["--help"], "usage: glasswright COMMAND"),
        (["--version"], "glasswright 0."),
        (["train", "--help"], "poisson_ratio"),
        (["plugins"], "harmonic_morse"),
    ):
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = glasswright(*arguments, cwd=tmp_path)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Of the processor: a busy machine would say nothing about the command.
        seconds = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
        assert result.returncode == 0
        assert text in result.stdout
        assert result.stderr == ""
        assert seconds < 6.0, arguments  # three on a quiet machine
    assert list(tmp_path.iterdir()) == []


def test_registering_imports_nothing_heavy(tmp_path):
    heavy = "jax_md", "jaxopt", "matplotlib", "ase", "scipy.sparse", "scipy.interpolate", "numba"
    code = (
        "import sys; from glasswright.commands.compose import start; start('train');"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert completed.stdout.strip() == "[]"


def test_the_doctor_finds_this_installation_healthy(capsys):
    assert cli.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["healthy"]
    assert report["x64"]
    assert set(report["probes"].values()) == {"correct"}
    assert report["versions"]["jax"]


@pytest.mark.wrong_types
def test_the_doctor_names_broken_releases_and_wrong_results(monkeypatch, capsys):
    from glasswright.cli import doctor
    from glasswright.cli import probes as _probes

    monkeypatch.setattr(doctor, "_versions", lambda: {"jax": "0.10.2", "jaxlib": "0.10.2"})
    monkeypatch.setattr(_probes, "probes", lambda: {"sums": lambda: "differs"})
    assert cli.main(["doctor"]) == 1
    error = capsys.readouterr().err
    assert "jax 0.10.2" in error
    assert "sums: differs" in error
