"""Where our own configurations are."""

from pathlib import Path

from .._errors import RequestError


def configuration_folder() -> Path:
    """The folder of `train.yaml`: the repository's `conf/` beside the module, else the copy in the wheel."""
    package = Path(__file__).resolve().parents[1]
    # An editable install can leave a stale copy inside the package: the repository comes first.
    for folder in (package.parents[1] / "conf", package / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise RequestError(f"glasswright is installed without its configuration: no conf/train.yaml near {package}")
