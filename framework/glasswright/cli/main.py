"""The command line: `glasswright COMMAND …`. Exit 0: done, 1: the run failed, 2: the request was wrong."""

import os
import sys
import traceback
from collections.abc import Sequence

import glasswright

from .._errors import RequestError, RunError, Stopped, named, one_line, suggestion
from ..commands.table import COMMANDS, Entry, table
from .diagnostics import diagnostics

DONE, RUN_FAILED, REQUEST_WRONG, INTERRUPTED = 0, 1, 2, 130
# The commands that take no configuration: each is called with its arguments and returns the exit code.
TOOLS = table(
    Entry("resume", "go on with an interrupted run", "glasswright.cli.resume:main"),
    Entry("runs", "all runs below a folder, and how they stand", "glasswright.cli.runs:main"),
    Entry("plot", "the pictures of a run again, in another format, or while it runs", "glasswright.cli.plot:main"),
    Entry("reproduce", "a published result by one command, with a verdict", "glasswright.cli.reproduce:main"),
    Entry("report", "a page about one run or several, in one file", "glasswright.cli.report:main"),
    Entry("export", "packings and interactions of a run, for other programs", "glasswright.cli.export:main"),
    Entry(
        "plugins",
        "which components there are, all about one (show NAME), a new package (new NAME)",
        "glasswright.cli.plugins:main",
    ),
    Entry("schema", "JSON schema of a configuration, for editors", "glasswright.cli.schema:main"),
    Entry("doctor", "whether this installation computes what it should", "glasswright.cli.doctor:main"),
)
USAGE = """\
glasswright designs disordered solids by differentiating through their preparation.

usage: glasswright COMMAND [ARGUMENTS]

commands:
{commands}

{configured} take key=value overrides, --multirun, --cfg job, and --help, which lists every key:
  glasswright train property=[poisson_ratio,pressure] terms.pressure.objective.target=0.1
  glasswright validate run=outputs/ensemble_poisson/2026-01-01_00-00-00 n_configurations=2000
  glasswright measure configuration=packing.extxyz gradient=true

options:
  --version  show the version
  --help     show this text
"""


def usage() -> str:
    """The text of `--help`, from the tables of commands."""
    entries = [*COMMANDS.values(), *TOOLS.values()]
    *names, last = COMMANDS
    return USAGE.format(
        commands="\n".join(f"  {entry.name:10} {entry.summary}" for entry in entries),
        configured=f"{', '.join(names)} and {last}",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; whatever goes wrong is one line on stderr."""
    is_program = arguments is None
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with diagnostics():
            return _dispatch(arguments, is_program)
    except RequestError as error:
        return _fail(error, REQUEST_WRONG)
    except RunError as error:
        return _fail(error, RUN_FAILED)
    except Stopped as stop:
        print(f"glasswright: {stop}", file=sys.stderr)
        return DONE
    except KeyboardInterrupt as stop:
        print(f"glasswright: {str(stop) or 'interrupted'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left (`glasswright plugins | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        return _fail(error, RUN_FAILED)


def _dispatch(arguments: list[str], is_program: bool) -> int:
    if arguments and arguments[0] in ("-sc", "--shell-completion"):
        from .completion import complete_words

        if complete_words(arguments, [*COMMANDS, *TOOLS]):
            return DONE
        arguments = _completion(arguments)
    if arguments[:1] == ["help"] and len(arguments) == 2:
        arguments = [arguments[1], "--help"]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return DONE if arguments else REQUEST_WRONG
    # Behind a command as well, where Hydra would show its own.
    if arguments[0] == "-V" or "--version" in arguments:
        print(f"glasswright {glasswright.__version__}")
        return DONE
    command, rest = arguments[0], arguments[1:]
    if command in COMMANDS:
        # A caller in Python may have changed what answers depend on.
        if is_program and (rest in (["--help"], ["-h"]) or rest[:1] in (["-sc"], ["--shell-completion"])):
            return _answer(command, rest)
        from .application import run

        return run(command, rest)
    if command in TOOLS:
        code: int = TOOLS[command].load()(rest)
        return code
    raise RequestError(f"{command!r} is no command; {suggestion(command, [*COMMANDS, *TOOLS])}")


def _answer(command: str, arguments: list[str]) -> int:
    """Answer a question about a command, from what is known or from its configuration."""
    from .answers import Answers

    answers = Answers()
    if "--help" in arguments or "-h" in arguments:
        text = answers.of("help").get(command)
        if text is not None:
            print(text, end="")
            return DONE
    else:
        from ..config.completion import UnknownAnswer, complete, shell_of

        shell = shell_of(arguments)
        try:
            if shell is not None:
                complete(shell, command, answers.of("words"))
                return DONE
        except UnknownAnswer:
            pass
    from .application import run

    code = run(command, arguments, answers)
    answers.keep()
    return code


def _completion(arguments: list[str]) -> list[str]:
    """Hand the shell's question to the command, as if that were a program of its own."""
    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    command = words[1] if len(words) > 1 else "train"
    if command not in COMMANDS:
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
