"""The command line: from arguments to a command, and what it prints."""

from .main import DONE as DONE
from .main import INTERRUPTED as INTERRUPTED
from .main import REQUEST_WRONG as REQUEST_WRONG
from .main import RUN_FAILED as RUN_FAILED
from .main import main as main
