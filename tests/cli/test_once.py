"""A single run from the command line: its configuration is composed once, its request built once and checked once."""

import pytest
from glasswright import cli
from glasswright.commands import train as command
from glasswright.config.loader import ConfigLoader
from glasswright.jobs import experiment as jobs_experiment
from glasswright.jobs import train as job
from matplotlib.figure import Figure

QUICK = ["system.n_particles=64", "train.steps=1", "devices=1", "hydra.run.dir=run"]


@pytest.fixture
def calls(monkeypatch) -> dict[str, int]:
    """How often what is slow is done."""
    counts: dict[str, int] = {"composed": 0, "built": 0, "checked": 0, "trained": 0}

    def count(owner, name: str, what: str) -> None:
        original = getattr(owner, name)

        def counted(*arguments, **options):
            counts[what] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, counted)

    # All that Hydra composes goes through here, whether it was asked for by us or by Hydra's own `run`.
    count(ConfigLoader, "compose_anew", "composed")
    count(command, "build_experiment", "built")
    count(jobs_experiment, "check_experiment", "checked")
    count(job, "train", "trained")
    return counts


def test_a_single_training(tmp_path, monkeypatch, calls):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("glasswright.plots.training.training_figure", lambda *_: Figure())
    assert cli.main(["train", *QUICK]) == cli.DONE
    assert calls == {"composed": 1, "built": 1, "checked": 1, "trained": 1}
    assert (tmp_path / "run" / "result.json").exists()
    assert (tmp_path / "run" / ".hydra" / "overrides.yaml").exists()


def test_the_jobs_of_a_sweep_are_checked_beforehand_and_built_in_their_process(tmp_path, monkeypatch, calls):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "train", lambda *_, **__: {"success": None, "loss": 1.0, "steps": 1, "seconds": 0.0})
    assert cli.main(["train", "-m", "seed=1,2", *QUICK]) == cli.DONE
    assert calls["built"] == calls["checked"] == 4
    # The sweep as a whole, each job beforehand, and each job twice by Hydra's sweeper and launcher.
    assert calls["composed"] <= 7


def test_a_sweep_can_be_asked_for_by_the_mode_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "hydra.mode=MULTIRUN", "seed=1,-2", *QUICK]) == cli.REQUEST_WRONG
    assert "seed=-2: must be an integer of at least 0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
