"""The names under which files give the parts of a pair: columns of a table, keys of a line.

In: the names that a file has. Out: which of them is which part, or one error with what was
found and what was expected. Files of others call the first prompt clean and the second corrupt;
their foil has to be the right answer of the second prompt. A column ``family``, or one whose name
begins with ``family_``, sorts the pairs into families.
"""

from __future__ import annotations

from collections.abc import Sequence

from circuitkit.errors import TaskError

COLUMNS: dict[str, tuple[str, ...]] = {
    "prompt_a": ("prompt_a", "clean", "clean_prompt", "clean_prefix"),
    "answer_a": ("answer_a", "answer", "correct_answer", "clean_answer"),
    "prompt_b": (
        "prompt_b", "corrupt", "corrupted", "corrupt_prompt", "corrupted_prompt", "patch_prefix",
    ),
    "answer_b": (
        "answer_b", "foil", "wrong_answer", "corrupt_answer", "corrupted_answer", "patch_answer",
    ),
    "template": ("template",),
    "split": ("split",),
}  # fmt: skip
"""Part of a pair → the names that are known for it."""

FAMILY = "family"

_OPTIONAL = ("template", "split")
_PART_OF = {name: part for part, names in COLUMNS.items() for name in names}
PAIR_NAMES = frozenset(name for name, part in _PART_OF.items() if part not in _OPTIONAL)


def is_family(name: str) -> bool:
    """Whether a name is that of a column that sorts pairs into families."""
    plain = name.strip().lower()
    return plain == FAMILY or plain.startswith(f"{FAMILY}_")


def parts_of(found: Sequence[str], where: str, what: str = "columns") -> dict[str, str]:
    """Which name of a file stands for which part; capitals and blanks around do not count.

    Raises:
        TaskError: if a name is not known, or a part is missing or given twice.
    """
    parts: dict[str, str] = {}
    problems = []
    for name in found:
        part = name.strip().lower() if is_family(name) else _PART_OF.get(name.strip().lower())
        if part is None:
            problems.append(_not_known(name))
        elif part in parts:
            problems.append(f"{parts[part]!r} and {name!r} are both {part}; keep one")
        else:
            parts[part] = name
    missing = [part for part in COLUMNS if part not in parts and part not in _OPTIONAL]
    problems += [f"{part} is missing (known as {', '.join(COLUMNS[part])})" for part in missing]
    if problems:
        raise TaskError(
            f"{where}: {what} {_quoted(found)}; expected two prompts with their answers, and "
            f"perhaps template, split and family: {'; '.join(problems[:6])}"
        )
    return parts


def _not_known(name: str) -> str:
    if not name.strip():
        return "one has no name (an index that pandas wrote? write with index=False)"
    return f"{name[:40]!r} is not known; remove or rename it"


def _quoted(names: Sequence[str]) -> str:
    shown = [repr(name[:40]) for name in names[:12]]
    return ", ".join([*shown, *(["…"] if len(names) > 12 else [])]) or "none"
