"""Pictures drawn again from a run's files, and pages about runs: complete, and without any network."""

import functools
import html.parser
import http.server
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from glasswright import cli
from helpers import REFERENCE

TERMS = """terms:
  pressure:
    property: {_target_: glasswright_plugins.properties.pressure.Pressure}
    objective: {_target_: glasswright_plugins.objectives.target.Target, target: 0.1}
    weight: 2.0
"""
CONFIG = (
    "optimizer: {}\nseed: 3\ntrain: {steps: 50, tolerance: 1.0e-6}\nsystem: {n_species: 2}\n"
    "sampler: {_target_: glasswright_plugins.samplers.tracked.Tracked, size: 1}\n" + TERMS
)
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


def line(step: int, value: float) -> str:
    terms = {"pressure": {"value": value, "loss": (value - 0.1) ** 2}}
    design = {"diameter": [0.8, 1.0 + 0.01 * step], "binding_energy": [0.1, 0.1 + step, 0.1]}
    content = {"step": step, "loss": terms["pressure"]["loss"], "terms": terms, "design": design}
    return json.dumps(content | {"rearranged": 0, "seconds": 0.5}) + "\n"


def a_training(folder: Path, *values: float, result: bool = True, **overrides: str) -> Path:
    """A run directory as a training leaves it."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {k}={v}\n" for k, v in overrides.items()) or "[]")
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "metrics.jsonl").write_text("".join(line(k, value) for k, value in enumerate(values)))
    (folder / "provenance.json").write_text(json.dumps({"versions": {"jax": "1.2.3"}, "git": "abc", "plugins": []}))
    if result:
        loss = (values[-1] - 0.1) ** 2
        content = {"success": False, "loss": loss, "steps": len(values), "values": {"pressure": values[-1]}}
        content |= {"losses": {"pressure": loss, "other": 1.0 / loss}, "seconds": 2.0, "requested": 4, "converged": 3}
        content |= {"rejected": {"unstable": 1}, "rearranged": 0, "best": {"loss": loss, "step": len(values) - 1}}
        (folder / "result.json").write_text(json.dumps(content))
        shutil.copy(REFERENCE / "2d_n100_sp2_a5.extxyz", folder / "final.extxyz")
    return folder


def a_validation(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.yaml").write_text("trained: {}\nn_configurations: 20\nn_untrained: 0\n" + TERMS)
    samples = [
        {"ensemble": "trained", "index": k, "outcome": "converged", "values": {"pressure": 0.1 + 0.01 * k}}
        for k in range(20)
    ]
    (folder / "configurations.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    mean = {"mean": 0.2, "standard_error": 0.013, "standard_deviation": 0.06, "median": 0.2}
    report = {"properties": {"pressure": mean}, "loss": 0.01, "loss_floor": 1e-4, "requested": 20, "converged": 20}
    (folder / "validation.json").write_text(json.dumps(report | {"rejected": {}}))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("outputs")
    for k in range(3):
        a_training(folder / "sweep" / str(k), 0.5, 0.3 - 0.05 * k, seed=str(k))
    a_training(folder / "running", 0.5, 0.4, 0.3, result=False)
    a_validation(folder / "validate")
    return folder


@pytest.fixture(scope="module")
def page(runs) -> Path:
    path = runs / "page.html"
    assert cli.main(["report", str(runs), "--output", str(path), "--pareto", "pressure,other"]) == cli.DONE
    return path


@pytest.mark.usefixtures("trainings_draw")
def test_a_run_is_drawn_again(runs, tmp_path, capsys):
    kept = (runs / "sweep" / "0").iterdir()
    before = {path.name for path in kept}
    assert cli.main(["plot", str(runs / "sweep" / "0"), "--format", "pdf,svg", "--output", str(tmp_path)]) == cli.DONE
    assert capsys.readouterr().out.split() == [str(tmp_path / "training.pdf"), str(tmp_path / "training.svg")]
    assert "species 0" in (tmp_path / "training.svg").read_text()
    assert {path.name for path in (runs / "sweep" / "0").iterdir()} == before


@pytest.mark.usefixtures("trainings_draw")
def test_a_run_is_drawn_while_it_runs(runs, tmp_path):
    arguments = ["--format", "svg", "--width", "single", "--output", str(tmp_path)]
    assert cli.main(["plot", str(runs / "running"), *arguments]) == cli.DONE
    picture = (tmp_path / "training.svg").read_text()
    assert re.search(r'width="243\.\d+pt"', picture)
    assert "pressure" in picture
    assert "binding energy 01" in picture
    assert "tolerance" in picture


def test_a_front_is_drawn(runs, tmp_path):
    arguments = ["--pareto", "pressure,other", "--output", str(tmp_path), "--format", "svg"]
    assert cli.main(["plot", str(runs / "sweep"), *arguments]) == cli.DONE
    assert "loss of pressure" in (tmp_path / "front.svg").read_text()


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plot", "nowhere"], "DIR=nowhere: no such directory"),
        (["plot", "."], "DIR=.: there is no run in it"),
        (["plot", "sweep/0", "--format", "jpg"], "plots.format=jpg"),
        (["plot", "sweep/0", "--width", "10"], "plots.width=10"),
        (["plot", "sweep/0", "--style", "nothing"], "plots.style=nothing"),
        (["plot", "sweep", "--pareto", "pressure"], "needs two terms"),
        (["plot", "sweep", "--pareto", "pressure,presure"], "did you mean 'pressure'?"),
        (["report", "nowhere"], "DIR=nowhere: no such directory"),
        (["report", "empty"], "DIR=empty: there is no run in it"),
    ],
)
def test_wrong_requests(runs, monkeypatch, capsys, arguments, message):
    (runs / "empty").mkdir(exist_ok=True)
    monkeypatch.chdir(runs)
    assert cli.main(arguments) == cli.REQUEST_WRONG
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


class Reader(html.parser.HTMLParser):
    """Collects what a page would load, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.pictures = 0
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.pictures += tag == "img"
        given = dict(attrs)
        addresses = [given.get(name) for name in ("src", "srcset", "href") if tag != "a"]
        self.loaded += [address for address in addresses if address]
        assert tag != "script"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_page_is_complete_and_loads_nothing(page):
    reader = Reader()
    reader.feed(page.read_text())
    assert reader.loaded
    assert all(address.startswith("data:") for address in reader.loaded)
    # The sweep as a whole, the front, and a picture for each run.
    assert reader.pictures == 2 + 5
    text = " ".join(" ".join(reader.text).split())
    for piece in (
        "5 runs in",
        "target not reached",
        "killed",
        "0.200 ± 0.013",
        "1 unstable",
        "binding energy 01",
        "glasswright train seed=2",
        "jax 1.2.3",
        "target (target 0.1), weight 2",
        "tolerance: 1.0e-6",
    ):
        assert piece in text, piece


def test_texts_of_a_run_are_no_html(tmp_path, capsys):
    folder = a_training(tmp_path / "<b>run", 0.2, 0.15, experiment="<script>alert(1)</script>")
    assert cli.main(["report", str(folder)]) == cli.DONE
    content = Path(capsys.readouterr().out.strip()).read_text()
    assert "<script>" not in content
    assert "<b>run" not in content


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine (package chromium)")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_it(page, tmp_path, width):
    """Every picture is shown, at both widths without scrolling sideways; no error; nothing is asked of the server."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    # A copy that reports about itself: the page allows no script.
    script = (
        "<script>addEventListener('load', () => { const all = [...document.images]; document.title = JSON.stringify("
        "{pictures: all.length, shown: all.filter(i => i.complete && i.naturalWidth > 0 && i.clientWidth > 200).length,"
        " wide: document.documentElement.scrollWidth, window: innerWidth}); })</script>"
    )
    content = page.read_text()
    assert "default-src 'none'" in content
    content = content.replace("style-src 'unsafe-inline'", "style-src 'unsafe-inline'; script-src 'unsafe-inline'")
    (tmp_path / "page.html").write_text(content.replace("</head>", f"{script}</head>"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
        command += [f"--window-size={width},2000", f"--user-data-dir={tmp_path / 'profile'}"]
        address = f"http://127.0.0.1:{server.server_port}/page.html"
        done = subprocess.run([*command, address], capture_output=True, text=True, timeout=120, check=True)
    finally:
        server.shutdown()
        server.server_close()
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert title, done.stdout[:2000]
    told = json.loads(title[1])
    assert told["pictures"] == told["shown"] == 7
    assert told["wide"] <= told["window"]
    assert "CONSOLE" not in done.stderr
    assert asked == ["/page.html"]
