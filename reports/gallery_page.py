"""The page of the gallery that GitHub shows first.

In: the folders of the gallery. Out: Markdown, the same for the same folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

from gallery_folders import (
    CIRCUIT, COMPLETE, DENSE, DENSE_EXAMPLES, DIAGRAM, MOST_DRAWN, NUMBERS, PATHS, REPORT,
    REPORT_HTML, SMALLEST, SMALLEST_VALIDATION, UNREAD, VALIDATION,
)  # fmt: skip
from gallery_rungs import Ladder, cells, climbed, columns, summary

from circuitkit import load_task

WIDTH = 200
"""Of a thumbnail, in pixels."""

HEAD = """\
<!-- Made by: python reports/make_gallery.py --index -->
# Gallery

Every task that a bundled checkpoint does: its circuits and the verdicts on them. The settings are the
defaults of `circuitkit extract CHECKPOINT --task TASK` and `circuitkit validate DIR`; of `{dense}`
only the smallest circuit was searched for. `pruning.json` holds the settings of each search. Click a
picture to see it whole: it shows [the strongest paths](../../docs/reports.md#how-to-read-page-one) from
the tokens to the answers.

- **trusted, smallest**: the two circuits of a task. The smallest one does the task while the rest of
  the model is silent; the trusted one also decides what the model answers
  ([the ladder](../../docs/extraction.md#ladder)). Pictures, report and `circuit.json` are of the
  trusted circuit where it was reached.
- **nodes / edges**: the size of the circuit. Fewer are easier to read.
- **F_x**: F under interchange, on 128 test pairs. 1 means that the answer follows the circuit alone, 0 or
  less that it follows the rest of the model. A dash: not measured.
- **grade**: A, B and C pass; C-redundant and F do not. [How grades are given](../../docs/validation.md).
- **weakest claim**: the claim that keeps the grade from a better one; where the trusted rung was not
  reached, the ask that failed and by how much.
- **price**: edges of the trusted circuit over edges of the smallest.

"""

FOOT = """\
## What is kept

Of the sparse checkpoints, every folder holds the picture of the paths, the page (`report.html`: save it and
open it in a browser) and what `circuitkit validate` needs. The folder of `{complete}` holds the PDF, the
explanation and the tables too; of the others `circuitkit validate DIR` writes the explanation again, and
`circuitkit report DIR` the rest. A circuit of more than {most_drawn} edges has no full diagram here. `smallest.json` and `smallest.validation.json` are
the smallest circuit and the verdict on it (`circuitkit validate DIR --rung smallest`), where
`circuit.json` is a trusted one. `ladder.csv` has a row for each rung, also for one that was not reached.
Of `pruning.json`, `{unread}` are left out: every node's rank and every step's loss.

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

`make gallery` makes what is missing here; `python reports/make_gallery.py --table` prints the numbers,
and `--thorough` runs the long suite on ten circuits.
"""


def index(gallery: Path) -> str:
    """The text of the gallery's README."""
    folders = sorted(
        (path.parent for path in gallery.glob(f"*/*/{VALIDATION}")),
        key=lambda folder: (folder.parent.name == DENSE, folder),
    )
    text = HEAD.format(dense=DENSE)
    for checkpoint in dict.fromkeys(folder.parent for folder in folders):
        inside = [Ladder.read(folder) for folder in folders if folder.parent == checkpoint]
        text += f"## {checkpoint.name}\n\n{''.join(_shown(inside))}\n{summary(inside)}\n\n"
    return text + FOOT.format(
        complete=COMPLETE, dense=DENSE, examples=_listed(DENSE_EXAMPLES), most_drawn=MOST_DRAWN,
        unread="` and `".join(UNREAD),
        n_dense=sum(folder.parent.name == DENSE for folder in folders),
    )  # fmt: skip


def _listed(names: Iterable[str]) -> str:
    *first, last = (f"`{name}`" for name in names)
    return f"{', '.join(first)} and {last}"


def _shown(ladders: list[Ladder]) -> Iterator[str]:
    """The table of one checkpoint; a column of diagrams where there are any."""
    drawn = any((ladder.folder / PATHS).exists() for ladder in ladders)
    titles = (*(("paths",) if drawn else ()), "task", *columns(ladders, "weakest claim"))
    yield f"| {' | '.join(titles)} | files |\n{'|---' * (len(titles) + 1)}|\n"
    for ladder in ladders:
        folder = ladder.folder
        row = (
            *((_thumbnail(folder),) if drawn else ()),
            f"**{folder.name}**<br>{escape(load_task(folder.name).question, quote=False)}",
            *cells(ladder, lambda verdict: verdict.short_of, two=climbed(ladders)),
            ", ".join(_links(folder)),
        )  # fmt: skip
        yield f"| {' | '.join(row)} |\n"


def _thumbnail(folder: Path) -> str:
    path, alt = f"{_where(folder)}/{PATHS}", f"paths of {folder.name}"
    if not (folder / PATHS).exists():
        return "none"
    return f'<a href="{path}"><img src="{path}" width="{WIDTH}" alt="{alt}"></a>'


def _links(folder: Path) -> Iterator[str]:
    for name in (REPORT, REPORT_HTML, DIAGRAM, CIRCUIT, NUMBERS, VALIDATION, SMALLEST, SMALLEST_VALIDATION):
        if (folder / name).exists():
            yield f"[{name}]({_where(folder)}/{name})"


def _where(folder: Path) -> str:
    return "/".join(folder.parts[-2:])
