"""Hooks of MkDocs: formulas become MathML while the site is built, so that it needs no script and no network for them.

They are written as on public forges: a block of the language `math`, and dollars with backticks in a line.
"""

import re
from typing import Any

from latex2mathml.converter import convert

_BLOCK = re.compile(r"^```math\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"\$`([^`\n]+)`\$")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Typeset the formulas of a page."""
    markdown = _BLOCK.sub(lambda found: f'<div class="formula">{_mathml(found[1], "block")}</div>', markdown)
    return _INLINE.sub(lambda found: _mathml(found[1], "inline"), markdown)


def _mathml(formula: str, display: str) -> str:
    """A formula of LaTeX as MathML, on one line: Markdown ends raw HTML at an empty one."""
    return " ".join(convert(formula, display=display).split())
