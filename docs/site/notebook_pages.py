"""Notebooks as pages: run from their text, then written as Markdown with what each cell shows.

The notebooks in the repository have no outputs, so that what is shown is what this version gives.
"""

from __future__ import annotations

import base64
import hashlib
import re
import tempfile
from importlib import metadata
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from places import BLOB, ROOT

SECONDS_A_CELL = 600
KEPT = ROOT / "out" / "notebooks"
CLEAN = re.compile(r"\x1b\[[0-9;]*m")


def executed(notebook: Path, kept: Path = KEPT) -> nbformat.NotebookNode:
    """The notebook with its outputs: those of the last run if nothing has changed since."""
    path, key = kept / notebook.name, _key(notebook)
    if path.exists():
        found = nbformat.read(path, as_version=4)
        if found.metadata.get("key") == key:
            return found
    done = run(notebook)
    done.metadata["key"] = key
    kept.mkdir(parents=True, exist_ok=True)
    nbformat.write(done, path)
    return done


def run(notebook: Path) -> nbformat.NotebookNode:
    """The notebook, executed in an empty folder that has the gallery; no cell may fail."""
    read = nbformat.read(notebook, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "reports").symlink_to(ROOT / "reports")
        resources = {"metadata": {"path": folder}}
        return NotebookClient(read, timeout=SECONDS_A_CELL, resources=resources).execute()


def _key(notebook: Path) -> str:
    """A hash of all that the outputs follow from: the notebook, the package, the libraries."""
    digest = hashlib.sha256(notebook.read_bytes())
    for folder in ("circuitkit", "tasks"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(path.read_bytes())
    for each in sorted(f"{d.name} {d.version}" for d in metadata.distributions()):
        digest.update(each.encode())
    return digest.hexdigest()


def pages(notebook: Path, page: str, *, run_it: bool = True) -> dict[str, str | bytes]:
    """The page of a notebook and the pictures on it."""
    done = executed(notebook) if run_it else nbformat.read(notebook, as_version=4)
    made: dict[str, str | bytes] = {}
    parts = []
    for i, cell in enumerate(done.cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for j, output in enumerate(cell.get("outputs", ())):
            parts.append(_shown(output, Path(page).with_suffix(f".{i}.{j}"), made))
    source = notebook.relative_to(ROOT).as_posix()
    parts.insert(1, f"*This page is a [notebook]({BLOB}{source}), run when the site was built.*")
    return {page: "\n\n".join(part for part in parts if part) + "\n"} | made


def _shown(output: nbformat.NotebookNode, picture: Path, made: dict[str, str | bytes]) -> str:
    """One output as Markdown; a picture is put into a file."""
    if output.output_type == "stream":
        return _text(output.text) if output.name == "stdout" else ""
    data = output.get("data", {})
    if output.output_type == "display_data" and data.get("text/html", "").startswith("<pre"):
        return ""  # a bar of progress
    if "image/svg+xml" in data:
        return _picture(picture.with_suffix(picture.suffix + ".svg"), data["image/svg+xml"], made)
    if "image/png" in data:
        png = base64.b64decode(data["image/png"])
        return _picture(picture.with_suffix(picture.suffix + ".png"), png, made)
    if "text/html" in data:
        html = re.sub(r"\n\s*\n", "\n", data["text/html"])
        return f'<div class="output">\n{html}\n</div>'
    return _text(data.get("text/plain", ""))


def _text(text: str) -> str:
    return f"```text\n{CLEAN.sub('', text).rstrip()}\n```" if text.strip() else ""


def _picture(path: Path, content: str | bytes, made: dict[str, str | bytes]) -> str:
    made[path.as_posix()] = content
    return f'<div class="output"><img src="{path.name}" alt="what the cell shows"></div>'
