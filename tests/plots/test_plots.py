"""Pictures: formats, widths and styles, what stands at axes, bins, fronts, and packings in two and three dimensions."""

import io

import matplotlib
import numpy as np
import pytest
from glasswright._errors import RequestError
from glasswright.config.blocks import build_plots
from glasswright.plots.front import front_figure, on_front
from glasswright.plots.options import DEFAULT_PLOTS, FORMATS, WIDTHS, PlotOptions
from glasswright.plots.style import Quantity, component_names, rendered
from glasswright.plots.sweep import sweep_figure
from glasswright.plots.training import training_figure
from glasswright.plots.validation import common_bins, validation_figure
from glasswright.run.extxyz import read_configuration
from helpers import PACKINGS, REFERENCE
from matplotlib.image import imread

NARROW = PlotOptions(width="single")
PRESSURE = Quantity("pressure", "p", "energy / volume", 0.1)
RATIO = Quantity("poisson_ratio", r"\nu", "dimensionless")


def lines(n_steps: int = 4) -> list[dict]:
    def line(step: int) -> dict:
        terms = {
            "pressure": {"value": 0.2 / (step + 1)},
            "poisson_ratio": {"value": 0.3},
            "curve": {"value": [1.0, 2.0]},
        }
        design = {"diameter": [0.8, 1.0 + step], "binding_energy": [0.1, 0.2, 0.3 + step], "density": 1.6}
        return {"step": step, "loss": 0.1**step, "terms": terms, "design": design, "rearranged": int(step == 1)}

    return [line(step) for step in range(n_steps)]


def training(options: PlotOptions, packing: str | None = None, n_steps: int = 4):
    configuration = None if packing is None else read_configuration(REFERENCE / f"{packing}.extxyz")
    quantities = {"pressure": PRESSURE, "poisson_ratio": RATIO, "curve": Quantity("curve")}
    return training_figure(lines(n_steps), quantities, 1e-3, configuration, np.array([0.8, 1.0]), 2, options)


def texts(axes) -> list[str]:
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize(("options", "packing"), [(DEFAULT_PLOTS, PACKINGS[0]), (NARROW, PACKINGS[1]), (NARROW, None)])
def test_the_width_is_that_of_the_journal(options, packing):
    picture = imread(io.BytesIO(rendered(training(options, packing), "png", options)))
    assert picture.shape[1] == pytest.approx(options.inches * 220, abs=1)
    assert np.std(picture) > 0.0


def test_every_axis_of_a_training_says_what_it_shows():
    loss, values, design = training(DEFAULT_PLOTS).axes
    assert [loss.get_ylabel(), values.get_ylabel(), design.get_ylabel()] == ["loss $L$", "value", "design / initial"]
    assert texts(values) == ["pressure $p$ (energy / volume)", r"Poisson ratio $\nu$", "target"]
    names = ["diameter 0", "diameter 1", "binding energy 00", "binding energy 01", "binding energy 11", "density"]
    assert texts(design) == names
    assert [axes.get_title(loc="left") for axes in (loss, values, design)] == ["(a)", "(b)", "(c)"]
    # No two lines have the same colour and the same dashes.
    looks = {(line.get_color(), str(line._dash_pattern)) for line in design.get_lines() if line.get_label() in names}
    assert len(looks) == len(names)


@pytest.mark.parametrize("n_steps", [1, 2, 12])
def test_steps_are_whole_numbers(n_steps):
    figure = training(DEFAULT_PLOTS, n_steps=n_steps)
    ticks = figure.axes[-1].get_xticks()
    assert np.all(ticks == np.round(ticks))


@pytest.mark.parametrize("format", FORMATS)
def test_formats(format):
    signature = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[format]
    first, second = (rendered(training(DEFAULT_PLOTS), format, DEFAULT_PLOTS) for _ in range(2))
    assert first.startswith(signature)
    assert first == second
    if format == "svg":
        # Text that one can search and edit, unless the reader may lack the font.
        assert b"training step" in first
        paths = rendered(training(DEFAULT_PLOTS), format, DEFAULT_PLOTS, text_as_paths=True)
        assert b">training step" not in paths


def test_a_style_of_ones_own(tmp_path):
    sheet = tmp_path / "own.mplstyle"
    sheet.write_text("axes.facecolor: ff0000\n")
    before = dict(matplotlib.rcParams)
    for style in (str(sheet), "dark_background"):
        options = build_plots({"style": style})
        figure = training(options)
        assert figure.axes[0].get_facecolor() != training(DEFAULT_PLOTS).axes[0].get_facecolor()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"format": "jpg"}, "plots.format=jpg: did you mean 'png'? possible: pdf, png, svg"),
        ({"format": []}, "plots.format=[]: must be a list"),
        ({"width": "tripple"}, "plots.width=tripple: possible: double, single, or a number"),
        ({"width": 1}, "plots.width=1: must be between 50 and 1000 millimetres"),
        ({"style": "drak_background"}, "did you mean 'dark_background'?"),
        ({"colour": "red"}, "plots.colour"),
    ],
)
def test_wrong_options(node, message):
    with pytest.raises(RequestError) as error:
        build_plots(node)
    assert message in str(error.value)


def test_options():
    assert build_plots(None) == DEFAULT_PLOTS
    assert build_plots({"format": "pdf", "width": 100}).inches == pytest.approx(3.937, abs=1e-3)
    assert build_plots({"format": ["png", "pdf", "png"]}).format == ("png", "pdf")
    assert build_plots({"width": "single"}).inches == pytest.approx(WIDTHS["single"] / 25.4)


def test_component_names():
    assert component_names("potential.diameter", (2,), 2) == ["diameter 0", "diameter 1"]
    assert component_names("binding_energy", (3,), 2) == ["binding energy 00", "binding energy 01", "binding energy 11"]
    assert component_names("density", (), 2) == ["density"]
    assert component_names("stiffness", (4,), 2) == [f"stiffness {k}" for k in range(4)]
    assert component_names("binding_energy", (66,), 11)[-1] == "binding energy 10,10"


def test_trained_and_untrained_have_the_same_bins():
    generator = np.random.default_rng(1)
    values = {"trained": generator.normal(0.3, 0.01, 400), "untrained": generator.normal(0.5, 0.05, 100)}
    samples = {
        ensemble: [{"values": {"pressure": float(value), "poisson_ratio": 0.3}} for value in numbers]
        for ensemble, numbers in values.items()
    }
    figure = validation_figure(samples, {"pressure": PRESSURE, "poisson_ratio": RATIO}, DEFAULT_PLOTS)
    untrained, trained = (patch.get_data() for patch in figure.axes[0].patches)
    np.testing.assert_array_equal(trained.edges, untrained.edges)
    for ensemble in (trained, untrained):
        assert np.sum(ensemble.values * np.diff(ensemble.edges)) == pytest.approx(1.0, abs=0.06)
    assert figure.axes[0].get_xlabel() == "pressure $p$ (energy / volume)"
    assert figure.axes[0].get_ylabel() == "probability density (volume / energy)"


@pytest.mark.parametrize(
    "values", [[[0.0, 0.0]], [[0.3], [0.3, 0.3]], [[1.0], [2.0]], [[-1.0, 5.0], [1e3, 1e3 + 1e-9]]]
)
def test_bins_of_few_values(values):
    edges = common_bins([np.asarray(ensemble) for ensemble in values])
    assert np.all(np.diff(edges) > 0.0)
    assert all(edges[0] <= value <= edges[-1] for ensemble in values for value in ensemble)


def test_the_front():
    points = np.array([[1.0, 4.0], [2.0, 2.0], [2.0, 3.0], [4.0, 1.0], [1.0, 4.0]])
    assert on_front(points).tolist() == [True, True, False, True, True]
    figure = front_figure(["a", "b", "c"], np.column_stack([points, points[:, 0]]), list("pqrst"), DEFAULT_PLOTS)
    assert len([axes for axes in figure.axes if axes.axison]) == 3
    assert {text.get_text() for text in figure.axes[0].texts} == set("pqst")


def test_a_sweep():
    axes = {"seed": np.array([0.0, 0.0, 1.0]), "terms.pressure.weight": np.array([0.1, 1.0, 10.0])}
    columns = {"loss": np.array([1e-3, np.nan, 1e-1]), "pressure": np.array([0.1, 0.2, 0.3])}
    figure = sweep_figure(axes, columns, {"pressure": PRESSURE}, DEFAULT_PLOTS)
    assert [panel.get_xlabel() for panel in figure.axes] == ["seed", "seed", *["terms.pressure.weight"] * 2]
    assert figure.axes[0].get_yscale() == figure.axes[2].get_xscale() == "log"
    assert rendered(figure, "png", DEFAULT_PLOTS)
