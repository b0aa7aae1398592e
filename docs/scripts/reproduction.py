"""Write the verdicts of studies into `docs/reproduction.md`, and their figures into `docs/gallery.md`.

python docs/scripts/reproduction.py

The verdicts are the files in `docs/reproduction/`, one folder for each study, copied from where it was run by

python docs/scripts/reproduction.py outputs/reproduce/zu2024_1c_quick
"""

import shutil
import sys
from pathlib import Path

from glasswright.reports.document import gallery, tables
from glasswright.reports.reproduce import ACCOUNTING, VERDICT

DOCS = Path(__file__).parents[1]
VERDICTS = DOCS / "reproduction"
# What stands between these lines of a page is written here; the rest of it by hand.
BEGIN, END = "<!-- written by docs/scripts/reproduction.py: begin -->", "<!-- end -->"


def pages() -> dict[Path, str]:
    """The pages with what the studies say in its place."""
    written = {"reproduction.md": tables(VERDICTS), "gallery.md": gallery(VERDICTS, "reproduction", "reproduction.md")}
    return {DOCS / name: _with(DOCS / name, text) for name, text in written.items()}


def _with(page: Path, text: str) -> str:
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page}: has no lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def keep(folder: Path) -> None:
    """Copy what the pages need of a study."""
    (VERDICTS / folder.name).mkdir(parents=True, exist_ok=True)
    for name in (VERDICT, ACCOUNTING, "figure.png"):
        shutil.copyfile(folder / name, VERDICTS / folder.name / name)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        keep(Path(argument))
    for path, content in pages().items():
        path.write_text(content)
