"""The site of the documentation: built strictly, complete without a network, and with its formulas typeset.

It needs the packages of `pip install -e '.[docs]'`.
"""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers import ROOT

pytest.importorskip("material", reason="mkdocs-material is not installed: pip install -e '.[docs]'")
pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed: pip install -e '.[docs]'")
pytest.importorskip("latex2mathml", reason="latex2mathml is not installed: pip install -e '.[docs]'")

# What a browser loads by itself, by tag.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
STYLES = ("stylesheet", "preload", "prefetch", "preconnect", "icon", "modulepreload", "dns-prefetch")


class Loaded(HTMLParser):
    """The addresses that a page loads, and how many formulas it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.formulas = 0
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.formulas += tag == "math"
        if tag in LOADED and values.get(LOADED[tag]):
            self.addresses.append(values[LOADED[tag]])
        if tag == "link" and set((values.get("rel") or "").split()) & set(STYLES):
            self.addresses.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site; a warning fails the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_pages_load_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} <= {page.stem for page in pages}
    for page in pages:
        for address in Loaded(page).addresses:
            assert not re.match(r"(https?:)?//", address), f"{page.name} loads {address}"
            # The page for wrong addresses is served from anywhere, so its own addresses begin at the root.
            if page.name != "404.html" and not address.startswith("data:"):
                assert (page.parent / address.partition("#")[0].partition("?")[0]).exists(), f"{page.name}: {address}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", style.read_text()), f"{style.name} loads something"


def test_no_page_has_what_would_be_drawn_by_a_script_from_elsewhere(site):
    """The theme fetches Mermaid from a network where a page has a diagram in it."""
    for page in site.rglob("*.html"):
        assert 'class="mermaid"' not in page.read_text(), page.name


def test_formulas_are_typeset(site):
    for page in (ROOT / "docs").glob("*.md"):
        text = page.read_text()
        written = len(re.findall(r"^```math$", text, re.MULTILINE)) + len(re.findall(r"\$`[^`\n]+`\$", text))
        assert Loaded(site / f"{page.stem}.html").formulas == written, page.name
    assert Loaded(site / "physics.html").formulas > 10


def test_prompts_and_outputs_are_marked_so_that_they_are_not_copied(site):
    page, style = (site / "index.html").read_text(), (site / "stylesheets" / "site.css").read_text()
    assert '<span class="gp">$ </span>' in page
    assert re.search(r"\[data-md-copying\] \.gp,\s*\[data-md-copying\] \.go \{\s*display: none;", style)
