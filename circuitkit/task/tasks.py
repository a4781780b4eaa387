"""Tasks: questions with two answers, read from files that anyone may have written.

A built-in name, a TOML file of templates, or a CSV or JSONL file of pairs goes
in, a ``Task`` comes out, from which pairs are drawn. Source: Gao et al. 2025,
Table 1; file format: ``circuitkit.task/1``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from circuitkit.arguments import checked_call
from circuitkit.displays import view
from circuitkit.errors import TaskError
from circuitkit.files import as_path, sha256, shipped_folder
from circuitkit.task.formats import (
    MAX_BYTES,
    FormText,
    FramesFile,
    Leaks,
    SideText,
    TaskFile,
    parse_toml,
    read_task_file,
)
from circuitkit.task.pair_files import read_pairs
from circuitkit.task.pair_rows import MAX_BYTES as MAX_PAIR_BYTES
from circuitkit.task.pair_sources import DrawnPairs, Form, Frame, PairSource, Side
from circuitkit.task.pairs import SPLITS, Pair, Split
from circuitkit.task.templates import FUNCTION_NAMES, CheckedTemplate

FRAMES = "frames"
"""The file of frames that all tasks share; it is no task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSource:
    """The bytes of a task's file and how its name ends, to copy beside a circuit."""

    suffix: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A question with two answers, and the pairs that ask it.

    ``sha256`` is of the file's bytes and of the frames', so that any edit shows.
    ``shortcuts`` says what each ood form breaks ("" where the file does not say), ``leaks``
    are those that the file declares, ``notes`` what was added to its pairs or left out.
    ``file`` is the task's own file, None for a built-in one.

    Examples:
        >>> import circuitkit as ck
        >>> task = ck.load_task("for_while")
        >>> task.question
        'Is this a for loop or a while loop: does in or : follow the name?'
        >>> len(task.pairs("train", 100, seed=1))
        100
    """

    name: str
    question: str
    source: str
    sha256: str
    origin: PairSource
    shortcuts: tuple[str, ...] = ()
    leaks: Leaks | None = None
    notes: tuple[str, ...] = ()
    file: TaskSource | None = field(default=None, compare=False)

    def _repr_html_(self) -> str:
        return view("notebook.task_html")(self)

    def __repr__(self) -> str:
        return f"Task({self.name!r}: {self.question})"

    @property
    def asks_sha256(self) -> str:
        """A hash of the content: comments, names and the order of a file do not change it."""
        return sha256(self.origin.asks().encode())

    def templates(self, split: Split) -> tuple[str, ...]:
        """Ids such as ``form2/in_method``, in the order in which pairs use them."""
        self._check(split)
        return self.origin.templates(split)

    def pairs(self, split: Split, n: int, seed: int = 0) -> list[Pair]:
        """Draw ``n`` distinct pairs; a longer request begins with the same ones.

        Raises:
            TaskError: if the task has fewer, with how many it has.
        """
        self._check(split)
        if n < 0:
            raise TaskError(f"task {self.name}: {n} pairs asked for; expected 0 or more")
        found = self.origin.pairs(split, n, seed)
        if len(found) < n:
            raise TaskError(
                f"task {self.name}: {n} pairs of split {split} asked for, it has {len(found)} "
                "distinct ones; ask for fewer, or add forms or draws to the task"
            )
        return found

    def up_to(self, split: Split, n: int, seed: int = 0) -> list[Pair]:
        """``n`` distinct pairs, or all there are if the task has fewer.

        Raises:
            TaskError: if the split has none.
        """
        self._check(split)
        found = self.origin.pairs(split, n, seed)
        if not found and (left_out := self.origin.left_out(split, example=True)):
            raise TaskError(f"task {self.name}: no pair of split {split} is left: {left_out}")
        if not found:
            raise TaskError(
                f"task {self.name}: split {split} has no pairs; expected at least one. "
                "Give pairs of this split, or forms to draw them from."
            )
        return found

    def _check(self, split: str) -> None:
        if split not in SPLITS:
            expected = ", ".join(SPLITS)
            raise TaskError(f"task {self.name}: no split {split!r}; expected one of {expected}")


def builtin_tasks() -> tuple[str, ...]:
    """Names of the tasks that come with circuitkit.

    Examples:
        >>> import circuitkit as ck
        >>> len(ck.builtin_tasks()), ck.builtin_tasks()[0]
        (20, 'bracket_brace')
    """
    return tuple(
        sorted(path.stem for path in shipped_folder("tasks").glob("*.toml") if path.stem != FRAMES)
    )


@checked_call
def load_task(name_or_path: str | Path | Task) -> Task:
    """Read a built-in task, a ``.toml``, a ``.csv`` or a ``.jsonl``; a task is returned as it is.

    Raises:
        TaskError: if there is no such task, or its file is wrong, with where.

    Examples:
        >>> import circuitkit as ck
        >>> task = ck.load_task("with_open")
        >>> task.name, task.pairs("test", 1)[0].a.answer
        ('with_open', 'r')
    """
    if isinstance(name_or_path, Task):
        return name_or_path
    path = as_path(name_or_path, "task: a built-in name, a .toml, a .csv or a .jsonl")
    suffix = path.suffix.lower()
    if suffix in _READERS:
        data = read_task_file(path, MAX_BYTES if suffix == ".toml" else MAX_PAIR_BYTES)
        return replace(_READERS[suffix](path, data), file=TaskSource(suffix=suffix, data=data))
    if str(name_or_path) in builtin_tasks():
        shipped = shipped_folder("tasks") / f"{name_or_path}.toml"
        return _read_templates(shipped, read_task_file(shipped))
    raise _unknown(str(name_or_path))


def _unknown(name: str) -> TaskError:
    if Path(name).is_file():
        return TaskError(
            f"{name} is a file, but no task file by its ending; expected .toml, .csv (commas "
            "between columns) or .jsonl. Rename it, or write it in one of these."
        )
    near = get_close_matches(name, builtin_tasks(), n=3, cutoff=0.5) or builtin_tasks()
    return TaskError(
        f"no task {name!r}: expected a built-in name, a .toml, a .csv or a .jsonl file; "
        f"the nearest names are {', '.join(near)}"
    )


def _read_templates(path: Path, data: bytes) -> Task:
    frames_path = shipped_folder("tasks") / f"{FRAMES}.toml"
    frames_data = read_task_file(frames_path)
    file = parse_toml(TaskFile, data, path)
    for name in file.draw:
        if name in FUNCTION_NAMES:
            raise TaskError(f"{path}: draw.{name}: a function has this name; choose another")
    if "frames" in file.draw:
        raise TaskError(
            f"{path}: draw.frames: a key of the task has this name; put it above [draw], or choose "
            "another name for what is drawn"
        )
    drawn = DrawnPairs(
        task=file.name,
        draw={n: CheckedTemplate(source, f"{path}: draw.{n}") for n, source in file.draw.items()},
        forms=_forms(file.forms, f"{path}: forms"),
        ood=_forms(file.ood, f"{path}: ood"),
        frames=_frames(parse_toml(FramesFile, frames_data, frames_path), frames_path, file.frames),
    )
    if path.parent != frames_path.parent:  # those that ship are drawn from in tests
        drawn.check()
    return Task(
        name=file.name,
        question=file.question,
        source=file.source,
        sha256=sha256(data + b"\0" + frames_data),
        origin=drawn,
        shortcuts=tuple(form.breaks or "" for form in file.ood),
        leaks=file.leaks,
    )


def _forms(forms: Sequence[FormText], where: str) -> tuple[Form, ...]:
    return tuple(_form(form, f"{where}[{i + 1}]") for i, form in enumerate(forms))


def _form(form: FormText, where: str) -> Form:
    return Form(where=where, a=_side(form.a, f"{where}.a"), b=_side(form.b, f"{where}.b"))


def _side(side: SideText, where: str) -> Side:
    return Side(
        prompt=CheckedTemplate(side.prompt, f"{where}.prompt"),
        answer=CheckedTemplate(side.answer, f"{where}.answer"),
    )


def _frames(file: FramesFile, path: Path, chosen: str | None) -> tuple[Frame, ...]:
    """All frames, or those at the top, or those inside something."""
    return tuple(
        Frame(
            name=name,
            before=CheckedTemplate(frame.before, f"{path}: frames.{name}.before"),
            margin="    " * frame.indent,
        )
        for name, frame in file.frames.items()
        if chosen in (None, "inside" if frame.indent else "top")
    )


def _read_fixed(path: Path, data: bytes) -> Task:
    found = read_pairs(data, path)
    return Task(
        name=path.stem,
        question=f"Which of the two answers of {path.name}?",
        source=f"{path.name}, {found.added}" if found.added else path.name,
        sha256=sha256(data),
        origin=found.pairs,
        notes=found.notes,
    )


def task_of_pairs(name: str, data: bytes, *, question: str, source: str) -> Task:
    """A task whose file is these lines of pairs, as ``.jsonl`` has them.

    Raises:
        TaskError: if they are wrong, with the line.
    """
    read = _read_fixed(Path(f"{name}.jsonl"), data)
    file = TaskSource(suffix=".jsonl", data=data)
    return replace(read, name=name, question=question, source=source, file=file)


_READERS: dict[str, Callable[[Path, bytes], Task]] = {
    ".toml": _read_templates, ".jsonl": _read_fixed, ".csv": _read_fixed
}  # fmt: skip
