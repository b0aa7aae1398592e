"""The command line: from arguments to a command, and what it prints."""

from .main import main as main
