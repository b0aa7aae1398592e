"""What commands return to scripts and notebooks: a dictionary with its history, packing, potential and picture."""

import _thread
import json
import pickle
import signal

import equinox as eqx
import glasswright as gw
import numpy as np
import pytest
from glasswright._errors import Interrupted
from glasswright.jobs import train as job
from glasswright.reports.result import columns
from glasswright.run import progress as run_progress
from glasswright.run.files import read_metrics
from helpers import REFERENCE

SMALL = ("system.n_particles=64", "train.steps=3", "train.tolerance=0", "devices=1")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("result") / "run"
    result = gw.train(*SMALL, directory=folder)
    return folder, result


@pytest.fixture(scope="module")
def in_memory():
    return gw.train(*SMALL)


def test_it_is_a_dictionary_as_before(directory):
    folder, result = directory
    assert isinstance(result, dict)
    assert result == json.loads((folder / "result.json").read_text())
    assert json.loads(json.dumps(result)) == result
    assert pickle.loads(pickle.dumps(dict(result))) == result
    assert result["steps"] == 3


def test_history_is_in_columns(directory, in_memory):
    folder, result = directory
    lines = read_metrics(folder)
    for history in (result.history, in_memory.history, gw.load(folder).history):
        np.testing.assert_array_equal(history["step"], [0, 1, 2])
        np.testing.assert_array_equal(history["loss"], [line["loss"] for line in lines])
        values = [line["terms"]["poisson_ratio"]["value"] for line in lines]
        np.testing.assert_array_equal(history["poisson_ratio"], values)
        assert history["diameter"].shape == (3, 2)


def test_a_step_without_accepted_packings_has_no_values():
    rest = {"learning_rate": None, "requested": 1, "converged": 1, "rearranged": 0, "seconds": 0.1, "design": {}}
    measured = {"step": 0, "loss": 0.3, "terms": {"x": {"value": [0.1, 0.2], "loss": 0.3}}} | rest
    history = columns([measured, {"step": 1, "loss": None, "terms": {}} | rest])
    np.testing.assert_array_equal(history["x"], [[0.1, 0.2], [np.nan, np.nan]])
    np.testing.assert_array_equal(history["loss of x"], [0.3, np.nan])


def test_potential_and_packing_belong_to_the_last_step(directory, in_memory):
    folder, result = directory
    for other in (result, in_memory, gw.load(folder)):
        assert other.potential.diameter.tolist() == result["design"]["diameter"]
        assert other.potential.binding_energy.tolist() == result["design"]["binding_energy"]
        assert other.packing.n_particles == 64
    assert eqx.tree_equal(result.potential, in_memory.potential)
    np.testing.assert_allclose(in_memory.packing.position % 1.0, result.packing.position % 1.0, atol=1e-12)
    assert result.best["loss"] == min(result.history["loss"])
    assert result.directory == folder
    assert in_memory.directory is None


@pytest.mark.usefixtures("trainings_draw")
def test_the_picture(directory, in_memory):
    for result in (directory[1], in_memory):
        figure = result.plot(width="single")
        assert figure.get_figwidth() == pytest.approx(86 / 25.4)
        assert figure.axes[-1].get_title() == "64 particles"
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_it_prints_what_matters(directory, in_memory):
    folder, result = directory
    lines = repr(result).splitlines()
    assert lines[0] == "train: target not reached after 3 steps"
    assert any(line.startswith("  poisson_ratio 0.") for line in lines)
    assert lines[-1] == f"  in {folder}"
    assert repr(in_memory).splitlines()[-1] == "  no files were written"
    assert "array" not in repr(result)


def test_objects_print_their_numbers(in_memory):
    assert "f64[" not in repr(in_memory.potential)
    assert repr(round(float(in_memory.potential.diameter[0]), 4))[:5] in repr(in_memory.potential)
    assert repr(in_memory.packing).startswith("Configuration(64 particles of species [32, 32], box [[")
    experiment = gw.build(gw.compose(*SMALL))
    assert "f64[" not in repr(experiment)


def test_other_reports():
    report = gw.measure(f"configuration={REFERENCE / '2d_n100_sp2_a5.extxyz'}", "property=[pressure]", "relax=true")
    value = report["properties"]["pressure"]["value"]
    assert repr(report).splitlines()[:2] == ["measure: done", f"  pressure {value:.5g}"]
    with pytest.raises(gw.RequestError, match="has written no files to draw"):
        report.plot()


@pytest.mark.wrong_types
def test_load_refuses_what_is_no_run(tmp_path):
    with pytest.raises(gw.RequestError, match="there is no run in it"):
        gw.load(tmp_path)


@pytest.mark.parametrize("notebook", [True, False])
def test_an_interruption_returns_what_there_is_in_a_notebook(tmp_path, monkeypatch, notebook, caplog):
    """In a script, Ctrl-C ends the script."""
    appended = job.RunDirectory.append_metrics

    def interrupted(self, line) -> None:
        appended(self, line)
        if line["step"] == 1:
            # The handler alone: with the compiled code of a whole session a signal has crashed the process once.
            _thread.interrupt_main(signal.SIGINT)

    monkeypatch.setattr(job.RunDirectory, "append_metrics", interrupted)
    monkeypatch.setattr("glasswright.api.is_notebook", lambda: notebook)
    overrides = (*SMALL, "train.steps=50")
    if not notebook:
        with pytest.raises(Interrupted):
            gw.train(*overrides, directory=tmp_path / "run", progress=False)
        return
    result = gw.train(*overrides, directory=tmp_path / "run", progress=False)
    assert result["ended"] == "interrupted"
    assert result["steps"] == len(result.history["loss"]) == 2
    assert repr(result).startswith("train: interrupted after 2 steps")
    assert f"glasswright resume {tmp_path / 'run'}" in caplog.text
    assert gw.load(tmp_path / "run")["steps"] == 2


def test_progress_of_a_notebook(monkeypatch):
    """Shown once, and updated in place."""
    shown: list[str] = []

    class Handle:
        def update(self, display) -> None:
            shown.append(display._repr_html_())

    bar = run_progress.NotebookProgress("train", 4)
    monkeypatch.setattr(bar, "_handle", Handle())
    monkeypatch.setattr(run_progress, "SECONDS_BETWEEN_UPDATES", -1.0)
    bar.describe("<loss>")
    assert 'max="4"' in shown[0]
    assert "&lt;loss&gt;" in shown[0]


def test_errors_are_one_line_in_a_notebook():
    with pytest.raises(gw.RequestError) as error:
        gw.train("train.stps=3")
    (line,) = error.value._render_traceback_()
    assert line.startswith("RequestError: ")
    assert "did you mean 'steps'?" in line
    assert "\n" not in line


CELLS = [
    "import glasswright as gw\ndevices = 'devices=1'",
    f"result = gw.train({', '.join(map(repr, SMALL))}, directory='run')\nresult",
    "result.plot()",
    "gw.train('train.stps=3')",
    "import os, signal\n"
    "def stop(line):\n    if line['step'] == 2: os.kill(os.getpid(), signal.SIGINT)\n"
    "late = gw.train('system.n_particles=64', 'train.steps=1000', devices, directory='late', callbacks=[stop])\nlate",
    "gw.resume('late', 'train.steps=4')['steps']",
]


@pytest.mark.slow
def test_a_notebook(tmp_path):
    """A live bar, a result, its figure, an error of one line, an interruption, and going on."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = nbclient.NotebookClient(
        notebook, timeout=600, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}, kernel_name="python3"
    )
    client.execute()
    _, trained, drawn, wrong, stopped, resumed = (cell["outputs"] for cell in notebook["cells"])
    bars = [output for output in trained if "<progress" in output.get("data", {}).get("text/html", "")]
    assert len(bars) == 1
    assert 'value="3" max="3"' in bars[0]["data"]["text/html"]
    texts = [output["data"]["text/plain"] for output in trained if output["output_type"] == "execute_result"]
    assert texts[0].startswith("train: target not reached after 3 steps")
    assert any("image/png" in output.get("data", {}) for output in drawn)
    (error,) = [output for output in wrong if output["output_type"] == "error"]
    assert len(error["traceback"]) == 1
    assert "did you mean 'steps'?" in error["traceback"][0]
    text = json.dumps(stopped)
    assert "train: interrupted after 3 steps" in text
    assert "glasswright resume late" in text
    assert resumed[-1]["data"]["text/plain"] == "4"
