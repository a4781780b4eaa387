"""Pairs that a file lists: rows go in, pairs by split come out, with notes on what was added.

Templates that the file does not give are inferred, splits that it does not give are dealt by
template, so that no two share a prompt. Rows that ask nothing are left out and counted, and so are
those that contradict each other where splits are dealt: which split they fall into would decide
whether the contradiction is seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from circuitkit.errors import PairError, TaskError
from circuitkit.task.contradictions import contradictory, together
from circuitkit.task.dealt_splits import SHARES, deal
from circuitkit.task.inferred_templates import each_its_own, infer_templates
from circuitkit.task.pair_rows import Row, read_rows
from circuitkit.task.pair_sources import FixedPairs
from circuitkit.task.pairs import SPLITS, Pair, Prompt, Split, naming_place
from circuitkit.task.unusable import UnusablePair, left_out_in_words

FEWEST_TEMPLATES = len(SHARES)
"""One for each split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFile:
    """The pairs of a file; ``added`` says in words what it does not give, ``notes`` how."""

    pairs: FixedPairs
    added: str
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Reading:
    """A file on its way: its usable pairs, each with its row, and what there is to say."""

    path: Path
    rows: list[Row]
    pairs: list[Pair]
    unusable: list[UnusablePair]
    notes: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)


def read_pairs(data: bytes, path: Path) -> PairFile:
    """The pairs of a ``.csv`` or a ``.jsonl``.

    Raises:
        TaskError: if the file is wrong, with the line; if no row can be used; if a template is
            in two splits, or there are too few to make splits of.
    """
    rows = read_rows(data, path)
    _refuse_cut(rows)
    reading = _read(rows, path)
    templates = _templates(reading)
    splits = _splits(reading, templates)
    if not _given(reading.rows, "template"):
        templates = _apart(reading, templates, splits)
    else:
        _refuse_overlap(templates, splits, path)
    pairs = [replace(p, template=t) for p, t in zip(reading.pairs, templates, strict=True)]
    return PairFile(
        pairs=_listed(pairs, splits, reading),
        added=" and ".join(reading.added),
        notes=tuple(reading.notes),
    )


def _read(rows: list[Row], path: Path) -> _Reading:
    found = _Reading(path, [], [], [])
    for row in rows:
        try:
            with naming_place(row.where):
                found.pairs.append(row.pair(row.template or ""))
            found.rows.append(row)
        except PairError as error:
            found.unusable.append(UnusablePair.of(error, row.line, row.split))
    if not any(row.split for row in rows):
        _leave_out_contradictions(found)
    if not found.rows:
        raise TaskError(f"{path}: {left_out_in_words(found.unusable, len(rows), example=True)}")
    if found.unusable:
        found.notes.append(f"{path.name}: {left_out_in_words(found.unusable, len(rows))}")
    texts = [prompt.text or "" for pair in found.pairs for prompt in (pair.a, pair.b)]
    if returns := sum("\r" in text for text in texts):
        found.notes.append(
            f"{path.name}: {returns} of {len(texts)} prompts hold a carriage return, and "
            "the model reads it; if it is an end of line, write the file with one kind of them"
        )
    return found


def _leave_out_contradictions(reading: _Reading) -> None:
    wrong = contradictory(reading.pairs)
    for i, error in wrong.items():
        reading.unusable.append(UnusablePair.of(error, reading.rows[i].line, None))
    reading.pairs = [pair for i, pair in enumerate(reading.pairs) if i not in wrong]
    reading.rows = [row for i, row in enumerate(reading.rows) if i not in wrong]


def _refuse_cut(rows: Sequence[Row]) -> None:
    """Every row has the same columns of families.

    Raises:
        TaskError: if one lacks a column that another has.
    """
    columns = {name for row in rows for name, _ in row.families}
    for row in rows:
        if missing := columns - {name for name, _ in row.families}:
            raise TaskError(
                f"{row.where}: {min(missing)} is missing, but other lines give one; give it in "
                "every line or in none"
            )


def _given(rows: Sequence[Row], name: str) -> bool:
    """Whether the rows give a template (a split), which all of them do or none.

    Raises:
        TaskError: if some do and some do not.
    """
    with_it = [row for row in rows if getattr(row, name) is not None]
    if with_it and len(with_it) < len(rows):
        without = next(row for row in rows if getattr(row, name) is None)
        raise TaskError(
            f"{without.where}: {name} is missing, but line {with_it[0].line} gives one; "
            "give it in every line or in none"
        )
    return bool(with_it)


def _templates(reading: _Reading) -> list[str]:
    """As given, or inferred; with fewer than one for each split, every pair is its own."""
    if _given(reading.rows, "template"):
        return [pair.template for pair in reading.pairs]
    reading.added.append("templates inferred")
    labels, name = infer_templates(reading.pairs), reading.path.name
    n = len(set(labels))
    if n < FEWEST_TEMPLATES:
        reading.notes.append(
            f"{name} gives no templates, and its prompts are alike but for some words "
            f"({_such_as(labels)}): every pair counts as a template of its own, with those that "
            "share a prompt with it. Splits and intervals are over these, and say nothing about "
            "prompts of another form"
        )
        own = each_its_own(reading.pairs)
        groups = together(reading.pairs, own)
        return groups if len(set(groups)) >= FEWEST_TEMPLATES else own
    every = "every pair is one of its own" if n == len(set(map(_sides, reading.pairs))) else (
        f"{n} are inferred from the words that vary, such as {_such_as(labels)}"
    )  # fmt: skip
    reading.notes.append(f"{name} gives no templates: {every}; intervals are over templates")
    return labels


def _such_as(labels: Sequence[str]) -> str:
    """The most frequent label, which is escaped already."""
    return f"'{min(Counter(labels).items(), key=lambda item: (-item[1], item[0]))[0]}'"


def _splits(reading: _Reading, templates: Sequence[str]) -> list[Split]:
    """As given, or dealt by template."""
    given: list[Split] = [row.split for row in reading.rows if row.split is not None]
    if _given(reading.rows, "split"):
        return given
    groups = _groups(reading, templates)
    distinct = {(_sides(p), g) for p, g in zip(reading.pairs, groups, strict=True)}
    dealt = deal(Counter(group for _, group in distinct))
    if len(dealt) < FEWEST_TEMPLATES:
        raise TaskError(
            f"{reading.path}: {len(dealt)} templates and no splits; expected at least "
            f"{FEWEST_TEMPLATES} to deal to {', '.join(SHARES)}. Give pairs of more templates, "
            "or a split for each pair."
        )
    reading.added.append("splits dealt by template")
    splits: list[Split] = [dealt[group] for group in groups]
    counts = Counter(dealt[group] for _, group in distinct)
    shown = ", ".join(f"{counts[split]} to {split}" for split in SHARES)
    reading.notes.append(
        f"{reading.path.name} gives no splits: templates are dealt as 4 : 3 : 3; pairs: {shown}"
    )
    return splits


def _groups(reading: _Reading, templates: Sequence[str]) -> Sequence[str]:
    """Templates that share a prompt are dealt together, if that leaves one for each split."""
    groups, n = together(reading.pairs, templates), len(set(templates))
    if len(set(groups)) >= min(n, FEWEST_TEMPLATES):
        return groups
    reading.notes.append(
        f"{reading.path.name}: its pairs hang together by prompts that several of them share, so "
        "splits share prompts too: what is tested is not new. Give a split for each pair"
    )
    return templates


def _apart(reading: _Reading, templates: Sequence[str], splits: Sequence[Split]) -> list[str]:
    """Inferred templates that come in several of the file's splits count as one in each."""
    of: dict[str, set[Split]] = {}
    for template, split in zip(templates, splits, strict=True):
        of.setdefault(template, set()).add(split)
    shared = {template for template, found in of.items() if len(found) > 1}
    if shared:
        reading.notes.append(
            f"{len(shared)} of {len(of)} inferred templates come in more than one split of "
            f"{reading.path.name}, such as '{min(shared)}', and count as one in each: the test "
            "asks other words, not other templates"
        )
    return [
        f"{template} ({split})" if template in shared else template
        for template, split in zip(templates, splits, strict=True)
    ]


def _listed(pairs: Sequence[Pair], splits: Sequence[Split], reading: _Reading) -> FixedPairs:
    """Each pair once in its split, under the first template that has it, in no order of rows."""
    listed: dict[Split, dict[frozenset[Prompt], Pair]] = {split: {} for split in SPLITS}
    repeated: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    ordered = sorted(zip(splits, pairs, strict=True), key=lambda each: _content(each[1]))
    for split, pair in ordered:
        repeated[split] += _sides(pair) in listed[split]
        first = listed[split].setdefault(_sides(pair), pair)
        if first.families != pair.families:
            raise TaskError(
                f"{pair.written}the pair of line {first.line} again, in another family: "
                f"{dict(pair.families)} and {dict(first.families)}; a pair has one family in each "
                "column. Keep one of the two lines"
            )
    return FixedPairs(
        listed={split: tuple(listed[split].values()) for split in SPLITS},
        repeated=repeated,
        unusable=tuple(reading.unusable),
    )


def _sides(pair: Pair) -> frozenset[Prompt]:
    return frozenset([pair.a, pair.b])


def _content(pair: Pair) -> tuple[str, ...]:
    """What a pair is ordered by: its two sides in either order, then the order, the template."""
    a, b = repr(pair.a), repr(pair.b)
    return (*sorted((a, b)), a, pair.template)


def _refuse_overlap(templates: Sequence[str], splits: Sequence[Split], path: Path) -> None:
    owner: dict[str, Split] = {}
    for template, split in sorted(
        zip(templates, splits, strict=True), key=lambda item: SPLITS.index(item[1])
    ):
        if owner.setdefault(template, split) != split:
            raise TaskError(
                f"{path}: template {template!r} is in {owner[template]} and in {split}; "
                "expected splits without a template in common"
            )
