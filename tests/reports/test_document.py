"""Verdicts as Markdown: nothing of a verdict is left out, and the committed pages are what they say."""

import json
import runpy

import pytest
from glasswright import cli
from glasswright.reports.document import finished_studies, gallery, tables
from helpers import ROOT

CLAIM = {
    "claim": "the mean of |x|",
    "published": 0.35,
    "source": "A. Author, Journal 1 (2020), Fig. 7b",
    "measured": 0.34712,
    "error": 0.0031,
    "n": 200,
    "verdict": "agrees",
    "reason": "close enough",
}
VERDICT = {
    "study": "author_7b",
    "scale": "quick",
    "overrides": ["train.steps=5", "seed=1 2"],
    "title": "a made-up study",
    "source": "A. Author, Journal 1 (2020), Fig. 7",
    "jobs": 4,
    "failed": 1,
    "seeds": [0, 1, 2],
    "claims": [CLAIM, CLAIM | {"published": "more", "measured": None, "error": None, "n": 0, "verdict": "undecided"}],
}
ACCOUNTING = {"wall_seconds": 90.0, "processor_seconds": 150.0, "processors": 2}


@pytest.fixture
def folder(tmp_path):
    for name, changed in (("ten_10", {"study": "ten_10"}), ("author", {}), ("ten_9", {"study": "ten_9", "seeds": []})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "verdict.json").write_text(json.dumps(VERDICT | changed))
    (tmp_path / "author" / "accounting.json").write_text(json.dumps(ACCOUNTING))
    (tmp_path / "author" / "figure.png").write_bytes(b"")
    return tmp_path


def test_the_tables(folder, capsys):
    assert cli.main(["reproduce", "--document", str(folder)]) == cli.DONE
    text = capsys.readouterr().out
    assert text.rstrip("\n") == tables(folder)
    overview, section, *others = text.split("\n### ")
    assert [study.name for study in finished_studies(folder)] == ["author_7b quick", "ten_9 quick", "ten_10 quick"]
    assert (
        "| [`author_7b quick`](#author_7b-quick) | a made-up study | agrees: 1, undecided: 1 | 4 | 1.5 min | 2.5 min |"
        in overview
    )
    assert section == (
        "author_7b quick\n\n"
        "a made-up study. 4 jobs, 1 of them failed; seeds: 0 to 2.\n\n"
        "```console\n$ glasswright reproduce author_7b scale=quick train.steps=5 'seed=1 2'\n```\n\n"
        "| claim | published | measured | n | verdict | why |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| the mean of \\|x\\| | 0.35 (Fig. 7b) | 0.3471 ± 0.0031 | 200 | **agrees** | close enough |\n"
        "| the mean of \\|x\\| | more (Fig. 7b) | – | 0 | **undecided** | close enough |\n"
    )
    assert len(others) == 2
    assert "1 of them failed." in others[0]


def test_the_gallery_has_the_studies_with_a_figure(folder):
    text = gallery(folder, "pictures", "page.md")
    assert text.count("## ") == 1
    assert "![a made-up study](pictures/author/figure.png)" in text
    assert "[claims](page.md#author_7b-quick)" in text


def test_a_folder_without_a_verdict_is_refused(tmp_path, capsys):
    assert cli.main(["reproduce", "--document", str(tmp_path)]) == cli.REQUEST_WRONG
    assert "there is no verdict.json in it" in capsys.readouterr().err


def test_the_pages_are_what_the_verdicts_say():
    pages = runpy.run_path(str(ROOT / "docs" / "scripts" / "reproduction.py"))["pages"]
    for page, text in pages().items():
        assert page.read_text() == text, "run python docs/scripts/reproduction.py"


def test_figures_of_the_gallery_are_small():
    figures = sorted((ROOT / "docs" / "reproduction").glob("*/figure.png"))
    assert figures
    for figure in figures:
        assert figure.stat().st_size < 150_000, figure
