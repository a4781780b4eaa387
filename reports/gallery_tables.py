"""The gallery as text: the tables of its numbers, and the page that GitHub shows first.

In: the folders of the gallery. Out: Markdown, the same for the same folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

from gallery_folders import (
    CIRCUIT, COMPLETE, DENSE, DENSE_EXAMPLES, DIAGRAM, NUMBERS, REPORT, SPARSE, VALIDATION,
    is_found, numbers,
)  # fmt: skip

from circuitkit import Validation, load_task
from circuitkit.findings import DEFAULT_CLAIMS

WIDTH = 200
"""Of a thumbnail, in pixels."""

HEAD = """\
<!-- Made by: python reports/make_gallery.py --index -->
# Gallery

Every task that a bundled checkpoint does: its circuit and the verdict on it. The settings are the
defaults of `circuitkit extract CHECKPOINT --task TASK` and `circuitkit validate DIR`; `pruning.json`
holds those of each search. Click a diagram to see it whole.

- **nodes, edges**: the size of the circuit. Fewer are easier to read.
- **grade**: A, B and C pass; C-redundant and F do not. [How grades are given](../../docs/validation.md).
- **weakest claim**: the claim that keeps the grade from a better one.

"""

FOOT = """\
## What is kept

Of the sparse checkpoints, the folders of {complete} hold every file. The
others lack the PDF and the tables; `circuitkit report DIR` makes them from the files beside it.

The circuits of `{dense}` are large: the largest `circuit.json` has 4.8 MB. Two folders hold all
that `circuitkit validate` needs: {examples}. Of the other circuits, `numbers.json` holds
`circuit.json` without `edges` and `surroundings`, and `validation.json` holds the verdict. Left out
are `means.safetensors` (the ablation values), `pruning.json` (the record of the search),
`sources.json` and the tables. This command makes all of it again, in hours:

```
python reports/make_gallery.py --out out/gallery {dense}
```

A verdict compares a circuit with those in the folders beside it. The verdicts on `{dense}`
were made beside all {n_dense}. To get the same again, validate the folders that the command above makes.

`make gallery` makes what is missing here; `python reports/make_gallery.py --table` prints the numbers.
"""


def index(gallery: Path) -> str:
    """The text of the gallery's README."""
    folders = sorted(
        (path.parent for path in gallery.glob(f"*/*/{VALIDATION}")),
        key=lambda folder: (folder.parent.name == DENSE, folder),
    )
    text = HEAD
    for checkpoint in dict.fromkeys(folder.parent for folder in folders):
        inside = [folder for folder in folders if folder.parent == checkpoint]
        text += f"## {checkpoint.name}\n\n{''.join(_shown(inside))}\n"
    return text + FOOT.format(
        complete=_listed(COMPLETE), dense=DENSE, examples=_listed(DENSE_EXAMPLES),
        n_dense=sum(folder.parent.name == DENSE for folder in folders),
    )  # fmt: skip


def _listed(names: Iterable[str]) -> str:
    *first, last = (f"`{name}`" for name in names)
    return f"{', '.join(first)} and {last}"


def _shown(folders: list[Path]) -> Iterator[str]:
    """The table of one checkpoint; a column of diagrams where there are any."""
    drawn = any((folder / DIAGRAM).exists() for folder in folders)
    columns = (*(("diagram",) if drawn else ()), "task", "nodes", "edges", "grade", "weakest claim")
    yield f"| {' | '.join(columns)} | files |\n{'|---' * (len(columns) + 1)}|\n"
    for folder in folders:
        found, validation = numbers(folder), Validation.load(folder)
        cells = (
            *((_thumbnail(folder),) if drawn else ()),
            f"**{folder.name}**<br>{escape(load_task(folder.name).question, quote=False)}",
            f"{found['n_nodes']:,}", f"{found['n_edges']:,}",
            validation.grade, validation.weakest, ", ".join(_links(folder)),
        )  # fmt: skip
        yield f"| {' | '.join(cells)} |\n"


def _thumbnail(folder: Path) -> str:
    path, alt = f"{_where(folder)}/{DIAGRAM}", f"circuit of {folder.name}"
    return f'<a href="{path}"><img src="{path}" width="{WIDTH}" alt="{alt}"></a>'


def _links(folder: Path) -> Iterator[str]:
    for name in (REPORT, DIAGRAM, CIRCUIT, NUMBERS, VALIDATION):
        if (folder / name).exists():
            yield f"[{name}]({_where(folder)}/{name})"


def _where(folder: Path) -> str:
    return "/".join(folder.parts[-2:])


def tables(folders: list[Path]) -> Iterator[str]:
    """A table for every checkpoint, and one that compares twins if both are there."""
    checkpoints = dict.fromkeys(folder.parent for folder in folders)
    for checkpoint in checkpoints:
        yield (
            f"\n{checkpoint.name}\n\n| task | model loss (nats) | nodes | edges | circuit loss (nats) "
            "| complement accuracy | grade | what keeps it from a better one |\n"
            + "|---" * 8
            + "|\n"
        )
        made = [f for f in folders if f.parent == checkpoint and (f / VALIDATION).exists()]
        yield from map(_row, made)
        yield from _long_suite(made)
    by_name = {checkpoint.name: checkpoint for checkpoint in checkpoints}
    if by_name.keys() >= {SPARSE, DENSE}:
        yield from _twins(by_name[SPARSE], by_name[DENSE])


def _row(folder: Path) -> str:
    found, validation = numbers(folder), Validation.load(folder)
    loss, accuracy = found["loss_nats"], found["accuracy"]
    failed = [f.claim for f in validation.findings if f.outcome in ("fail", "inconclusive")]
    nothing = "nothing" if validation.grade == "A" else "the long suite was not run"
    return (
        f"| {folder.name} | {loss['model']:.3f} | {found['n_nodes']} | {found['n_edges']} | "
        f"{loss['circuit']:.3f} | {accuracy['complement']:.3f} | {validation.grade} | "
        f"{', '.join(failed) or nothing} |\n"
    )


def _long_suite(folders: Iterable[Path]) -> Iterator[str]:
    """What came of the claims of ``--thorough``, where they were tested."""
    tested = {
        path: [f for f in Validation.load(path).findings if f.claim not in DEFAULT_CLAIMS]
        for path in folders
    }
    if any(tested.values()):
        yield "\n| thorough | pass | fail | inconclusive | edges of a null, median | minutes |\n"
        yield "|---" * 6 + "|\n"
    for path, findings in tested.items():
        if findings:
            claims = (
                ", ".join(f.claim for f in findings if f.outcome == outcome) or "none"
                for outcome in ("pass", "fail", "inconclusive")
            )
            ratio = next(f.effect for f in findings if f.claim == "search_null") or 0.0
            minutes = sum(f.seconds for f in findings) / 60
            yield f"| {path.name} | {' | '.join(claims)} | {ratio:.0f} × | {minutes:.0f} |\n"


def _twins(sparse: Path, dense: Path) -> Iterator[str]:
    """How much smaller the sparse checkpoint's circuits are than its dense twin's, by edges."""
    yield f"\n| task | {SPARSE} | {DENSE} | ratio of edges |\n|---|---|---|---|\n"
    for folder in sorted(path.parent for path in dense.glob(f"*/{VALIDATION}")):
        if not is_found(sparse / folder.name):
            continue
        few, many = numbers(sparse / folder.name), numbers(folder)
        yield (
            f"| {folder.name} | {few['n_nodes']} / {few['n_edges']} | "
            f"{many['n_nodes']:,} / {many['n_edges']:,} | "
            f"{many['n_edges'] / few['n_edges']:.0f} |\n"
        )
