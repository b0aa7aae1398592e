"""What a configured command is: one record that the command line, the API and the schema read."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from .._types import JSON, Setting
from ..config.data import Config

Request = TypeVar("Request")
Report = TypeVar("Report")
RequestIn = TypeVar("RequestIn", contravariant=True)
ReportOut = TypeVar("ReportOut", covariant=True)

JsonSchema = Mapping[str, JSON]

# Schemas that several commands need; the definition of `numbers` is in `cli.schema`.
AUTO: JsonSchema = {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]}
NUMBERS_BY_NAME: JsonSchema = {"type": "object", "additionalProperties": {"$ref": "#/$defs/numbers"}}


def described(schema: JsonSchema, text: str) -> JsonSchema:
    """The schema of a key with its description, which `--help` and editors show."""
    return {**schema, "description": text}


@runtime_checkable
class Work(Protocol[RequestIn, ReportOut]):
    """The work of a command: takes a request, writes into a directory (None writes nothing), returns a report."""

    def __call__(self, request: RequestIn, directory: Path | None, *, progress: bool) -> ReportOut: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resumption(Generic[Request, Report]):
    """How a command goes on with an interrupted run.

    **Arguments:**

    - `finished`: the report that a run directory holds if nothing of this request is left to do.
    - `run`: goes on with the work from what the directory holds.
    """

    finished: Callable[[Request, Path], Report | None]
    run: Work[Request, Report]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command(Generic[Request, Report]):
    """All that one configured command is. Its name and summary stand once, in `commands.table`.

    **Arguments:**

    - `noun`: what a run of it is called in messages, with its article: `a training`.
    - `shared`: the keys it has in common with a training (`potential`, `terms`, …).
    - `own`: the keys that are its own, each with the JSON schema of its value and a description.
    - `nodes`: what Hydra's ConfigStore holds for it, by name: the base that `conf/NAME.yaml` builds on, or under the
      command's own name its whole primary configuration.
    - `build`: makes the request that a composed configuration describes, and checks it; names of files are relative to
      the folder. Raises `RequestError` with one line that names the key for whatever is wrong.
    - `run`: does the work.
    - `summarise`: the lines that the terminal shows about a report whose files are in a folder.
    - `failure`: what failed although there is a report, in one line; None if nothing did.
    - `score`: the number that a sweeper minimises; None where there is none.
    - `terms`: the names of what a request has a loss of, for sweepers with several directions.
    - `scores`: the loss of each of them, by name.
    - `recognise`: whether a run directory's configuration is that of this command.
    - `resumption`: how to go on with an interrupted run; None if the command cannot.
    """

    noun: str
    shared: tuple[str, ...] = ()
    own: Mapping[str, JsonSchema] = dataclasses.field(default_factory=dict)
    nodes: Mapping[str, object] = dataclasses.field(default_factory=dict)
    build: Callable[[Config, Path], Request]
    run: Work[Request, Report]
    summarise: Callable[[Report, Path], Iterable[str]]
    failure: Callable[[Report], str | None] = lambda report: None
    score: Callable[[Report], float | None] = lambda report: None
    terms: Callable[[Request], Iterable[str]] = lambda request: ()
    scores: Callable[[Report], Mapping[str, float | None]] = lambda report: {}
    recognise: Callable[[Mapping[str, Setting]], bool] = lambda configuration: False
    resumption: Resumption[Request, Report] | None = None


# One of several commands: what its request and its report are, only the command itself knows.
AnyCommand: TypeAlias = Command[Any, Any]
