"""The gallery of the site: a card for each circuit, with its picture, its grade and its live page.

In: the folders of ``reports/gallery``. The numbers are those of their files.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from places import BLOB, GALLERY_FILES, ROOT

GALLERY = ROOT / "reports" / "gallery"
HEAD = f"""\
# Gallery

Circuits of the bundled checkpoints, found, validated and drawn by the commands of the
[front page](../index.md). A picture shows the strongest paths from the tokens to the answers.
**Page** opens the report to explore ([how to read it](../reports.md)). The
[tables of the gallery]({BLOB}reports/gallery/README.md) have the smallest circuits and the price
of trust too.
"""


def folders() -> list[Path]:
    """Those that have a page to explore, by checkpoint and task."""
    return sorted(path.parent for path in GALLERY.glob("*/*/report.html"))


def files() -> dict[Path, str]:
    """What is copied, and where to."""
    return {
        path: f"gallery/{path.relative_to(GALLERY).as_posix()}"
        for folder in folders()
        for path in sorted(folder.iterdir())
        if path.name in GALLERY_FILES
    }


def page() -> str:
    """A card for each circuit."""
    parts = [HEAD]
    for checkpoint in dict.fromkeys(folder.parent.name for folder in folders()):
        cards = [_card(folder) for folder in folders() if folder.parent.name == checkpoint]
        parts += [f"## {checkpoint}", "", '<div class="gallery">', *cards, "</div>", ""]
    return "\n".join(parts)


def _card(folder: Path) -> str:
    circuit = json.loads((folder / "circuit.json").read_text(encoding="utf-8"))
    validation = json.loads((folder / "validation.json").read_text(encoding="utf-8"))
    at, task = f"{folder.parent.name}/{folder.name}", escape(folder.name)
    links = [
        f'<a href="{at}/{name}">{text}</a>'
        for name, text in (
            ("report.html", "page"),
            ("report.pdf", "PDF"),
            ("circuit.svg", "diagram"),
        )
        if (folder / name).exists()
    ]
    about = f"{circuit['n_nodes']} nodes, {circuit['n_edges']} edges, grade {validation['grade']}"
    return (
        f'<div><a class="thumbnail" href="{at}/report.html"><img loading="lazy"'
        f' src="{at}/paths.svg" alt="paths of {task}"></a>'
        f"<p><b>{task}</b><br>{about}<br>{' · '.join(links)}</p></div>"
    )
