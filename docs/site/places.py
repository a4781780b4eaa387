"""Where things lie: in the repository, in the folder that mkdocs reads, in the site.

Every page of ``docs/`` keeps its name. Pages from elsewhere in the repository get one here, and
the folders whose files the pages show are copied as they are.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
HOME = "https://github.com/circuitkit/circuitkit"
RAW = "https://raw.githubusercontent.com/circuitkit/circuitkit/main/"
BLOB = f"{HOME}/blob/main/"

ELSEWHERE = {
    "README.md": "index.md",
    "docs/README.md": "contents.md",
    "CHANGELOG.md": "changelog.md",
    ".github/CONTRIBUTING.md": "contributing.md",
    ".github/SECURITY.md": "security.md",
    "findings/README.md": "findings.md",
    "reports/gallery": "gallery/index.md",
    "reports/gallery/README.md": "gallery/index.md",
}
"""Pages that lie outside ``docs/``, or have another name in the site."""

GALLERY_FILES = (
    "report.html",
    "report.pdf",
    "paths.svg",
    "circuit.svg",
    "circuit.json",
    "validation.json",
)
"""What the site shows of each folder of the gallery."""


def pages() -> dict[str, str]:
    """Every page: its path in the repository, and its path in the site."""
    found = {f"docs/{path.name}": path.name for path in (ROOT / "docs").glob("*.md")}
    for path in sorted((ROOT / "docs").rglob("*.ipynb")):
        inside = path.relative_to(ROOT / "docs")
        found[f"docs/{inside}"] = str(inside.with_suffix(".md"))
    return found | {path: page for path, page in ELSEWHERE.items() if (ROOT / path).exists()}


def in_site(path: str, all_pages: dict[str, str]) -> str | None:
    """The path in the site of a path in the repository, if the site has it."""
    if path in all_pages:
        return all_pages[path]
    if path.startswith("docs/") and (ROOT / path).is_file() and "/site/" not in path:
        return path.removeprefix("docs/")
    gallery = path.startswith("reports/gallery/") and Path(path).name in GALLERY_FILES
    plot = path.startswith("reports/studies/") and path.endswith(".svg")
    return path.removeprefix("reports/") if gallery or plot else None


def relative(target: str, page: str) -> str:
    """A link from a page of the site to a file of it."""
    return os.path.relpath(target, Path(page).parent)
