"""The words of a command line: which commands are configured, and how wrong options are reported."""

import argparse
from typing import NoReturn

from .._errors import RequestError

# Those whose keys Hydra composes.
CONFIGURED = ("train", "validate", "measure", "analyse")


class Parser(argparse.ArgumentParser):
    """Reports a wrong option like any other wrong request."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{self.prog}: {message}")
