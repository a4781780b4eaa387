"""What task files hold: bytes go in, checked records come out, or one error that says where.

Two formats in TOML, ``circuitkit.task/1`` and ``circuitkit.frames/1``; files of pairs are read
in ``pair_rows``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from circuitkit.errors import TaskError
from circuitkit.files import read_bounded
from circuitkit.provenance import shown

MAX_BYTES = 2**20
MAX_FORMS = 100

M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, frozen=True, extra="forbid")


class SideText(_Strict):
    """One side, as written."""

    prompt: str
    answer: str


class FormText(_Strict):
    """A way of asking, as written."""

    a: SideText
    b: SideText


class ShiftText(FormText):
    """A form apart from the splits, and the shortcut that fails on it."""

    breaks: Annotated[str, Field(min_length=1)] | None = None


Share = Annotated[float, Field(ge=0, le=1)]


class Leaks(_Strict):
    """How often the right answer is predicted from less than the prompt: 0.5 is chance.

    By its last token, by how often each token occurs in it, by its number of tokens.
    """

    last_token: Share
    bag_of_tokens: Share
    length: Share


class TaskFile(_Strict):
    """``circuitkit.task/1``; ``frames`` keeps those without a margin, or those with one."""

    format: Literal["circuitkit.task/1"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    question: str
    source: str
    draw: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")], str] = {}
    forms: Annotated[list[FormText], Field(min_length=1, max_length=MAX_FORMS)]
    ood: Annotated[list[ShiftText], Field(max_length=MAX_FORMS)] = []
    frames: Literal["top", "inside"] | None = None
    leaks: Leaks | None = None


class _Frame(_Strict):
    before: str
    indent: Annotated[int, Field(ge=0, le=4)]


class FramesFile(_Strict):
    """``circuitkit.frames/1``: code before a prompt, by name."""

    format: Literal["circuitkit.frames/1"]
    frames: Annotated[dict[str, _Frame], Field(min_length=1)]


def read_task_file(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The bytes of a task file, at most 1 MiB unless there is another limit.

    Raises:
        TaskError: if there is no such file, or it is too large to be one.
    """
    return read_bounded(path, TaskError, "a task file", limit)


def decode(data: bytes, path: Path) -> str:
    """Text, without the byte order mark that some editors put before it."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None


def parse_toml(model: type[M], data: bytes, path: Path) -> M:
    """One of the two models above, from its file's bytes."""
    try:
        return model.model_validate(tomllib.loads(decode(data, path)))
    except ValidationError as error:
        raise invalid(error, str(path)) from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number of thousands of digits is no TOML error
        raise TaskError(f"{path}: not TOML: {error}") from None


def invalid(error: ValidationError, where: str) -> TaskError:
    """The first problems of a file, one a line, each with its key."""
    return TaskError("\n".join(f"{where}: {_problem(problem)}" for problem in error.errors()[:5]))


def _problem(problem: Mapping[str, Any]) -> str:
    key = _key(problem["loc"])
    got = shown(problem["input"])
    if problem["type"] == "missing":
        return f"{key} is missing; add it"
    if problem["type"] == "extra_forbidden":
        return f"{key}: no such key (got {got}); remove it or correct its name"
    return f"{key}: got {got}; {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _key(loc: Sequence[str | int]) -> str:
    """``forms[1].a.prompt``: counted from one, as the templates are."""
    parts = (f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in loc)
    return "".join(parts).lstrip(".") or "the line"
