"""How wrong options are reported."""

import argparse
from typing import NoReturn

from .._errors import RequestError


class Parser(argparse.ArgumentParser):
    """Reports a wrong option like any other wrong request."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{self.prog}: {message}")
