"""The command line: `glasswright COMMAND …`. Exit 0: done, 1: the run failed, 2: the request was wrong."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence

import glasswright

from .._errors import RequestError, RunError, Stopped, named, one_line, suggestion
from .diagnostics import diagnostics
from .parser import CONFIGURED

DONE, RUN_FAILED, REQUEST_WRONG, INTERRUPTED = 0, 1, 2, 130
USAGE = """\
glasswright designs disordered solids by differentiating through their preparation.

usage: glasswright COMMAND [ARGUMENTS]

commands:
  train      find interactions that give packings the properties somebody wants
  resume     go on with an interrupted run
  validate   what a trained design gives on packings that it has never seen
  measure    properties of an existing packing, and their gradients
  analyse    what a packing or an ensemble can become and at what cost; its bonds and vibrations
  plugins    which components there are, all about one (show NAME), a new package (new NAME)
  schema     JSON schema of a configuration, for editors
  doctor     whether this installation computes what it should

train, validate, measure and analyse take key=value overrides, --multirun, --cfg job, and --help, which lists every key:
  glasswright train property=[poisson_ratio,pressure] terms.pressure.objective.target=0.1
  glasswright validate run=outputs/ensemble_poisson/2026-01-01_00-00-00 n_configurations=2000
  glasswright measure configuration=packing.extxyz gradient=true

options:
  --version  show the version
  --help     show this text
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; whatever goes wrong is one line on stderr."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with diagnostics():
            return _dispatch(arguments)
    except RequestError as error:
        return _fail(error, REQUEST_WRONG)
    except RunError as error:
        return _fail(error, RUN_FAILED)
    except Stopped as stop:
        print(f"glasswright: {stop}", file=sys.stderr)
        return DONE
    except KeyboardInterrupt:
        print("glasswright: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left (`glasswright plugins | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        return _fail(error, RUN_FAILED)


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] in ("-sc", "--shell-completion"):
        from .completion import complete_words

        if complete_words(arguments, _commands()):
            return DONE
        arguments = _completion(arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return DONE if arguments else REQUEST_WRONG
    if arguments[0] in ("-V", "--version"):
        print(f"glasswright {glasswright.__version__}")
        return DONE
    commands = _commands()
    command, rest = arguments[0], arguments[1:]
    if command not in commands:
        raise RequestError(f"{command!r} is no command; {suggestion(command, commands)}")
    return commands[command](rest)


def _commands() -> dict[str, Callable[[list[str]], int]]:
    """The commands; each imports what it needs when it runs."""

    def configured(command: str) -> Callable[[list[str]], int]:
        def run_configured(arguments: list[str]) -> int:
            from .application import run

            return run(command, arguments)

        return run_configured

    def resume(arguments: list[str]) -> int:
        from ..commands.resume import resume

        return resume(arguments)

    def plugins(arguments: list[str]) -> int:
        from .plugins import main

        return main(arguments)

    def doctor(arguments: list[str]) -> int:
        from .doctor import main

        return main(arguments)

    def schema(arguments: list[str]) -> int:
        from .schema import main

        return main(arguments)

    return {
        "train": configured("train"),
        "resume": resume,
        "validate": configured("validate"),
        "measure": configured("measure"),
        "analyse": configured("analyse"),
        "plugins": plugins,
        "schema": schema,
        "doctor": doctor,
    }


def _completion(arguments: list[str]) -> list[str]:
    """Hand the shell's question to the command, as if that were a program of its own."""
    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    command = words[1] if len(words) > 1 else "train"
    if command not in CONFIGURED:
        command = "train"
    elif len(words) > 1:
        shorter = line.replace(f"{command} ", "", 1) if f"{command} " in line else line
        point = int(os.environ.get("COMP_POINT", len(line))) - (len(line) - len(shorter))
        os.environ["COMP_LINE"], os.environ["COMP_POINT"] = shorter, str(max(point, 0))
    return [command, *arguments]


def _fail(error: BaseException, code: int) -> int:
    if any(os.environ.get(name, "0") not in ("", "0") for name in ("GLASSWRIGHT_TRACEBACK", "HYDRA_FULL_ERROR")):
        traceback.print_exception(error)
    text = one_line(error) if isinstance(error, (RequestError, RunError)) else named(error)
    print(f"glasswright: error: {text}", file=sys.stderr)
    return code
