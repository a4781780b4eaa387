"""Build the site: ``python docs/site/build_site.py``, or ``make docs``.

In: the pages of the repository, the package, the notebooks. Out: ``out/site``, which a browser
opens from the disk and any web server serves. No network. A broken link, a missing reference or a
page that the navigation lacks is an error.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import api_pages
import check_built
import command_pages
import gallery_cards
import message_pages
import navigation
import notebook_pages
import places
import schema_pages
import yaml
from staged_pages import staged

GENERATED = [
    ("Command line", "command-line.md"),
    ("Python API", "api/index.md"),
    ("File formats", "file-formats.md"),
    ("Error messages", "error-messages.md"),
]


def main() -> None:
    """Stage, build, check."""
    parser = argparse.ArgumentParser(description="Build the site.")
    parser.add_argument("--out", type=Path, default=places.ROOT / "out" / "site")
    parser.add_argument(
        "--no-notebooks", action="store_true", help="show their code, do not run them"
    )
    args = parser.parse_args()
    began = time.monotonic()
    work = args.out.with_name(f"{args.out.name}-pages")
    stage(work / "pages", run_notebooks=not args.no_notebooks)
    build(work, args.out.resolve())
    found = check_built.problems(args.out.resolve())
    if found:
        raise SystemExit("\n".join(found))
    sys.stdout.write(f"{args.out / 'index.html'} ({time.monotonic() - began:.0f} s)\n")


def stage(folder: Path, *, run_notebooks: bool) -> None:
    """Write everything that mkdocs reads."""
    shutil.rmtree(folder, ignore_errors=True)
    all_pages = places.pages()
    for source, page in all_pages.items():
        if page.endswith(".md") and (places.ROOT / source).suffix == ".md":
            text = (places.ROOT / source).read_text(encoding="utf-8")
            _write(folder / page, staged(text, source, page, all_pages))
    for source, page in all_pages.items():
        if source.endswith(".ipynb"):
            _stage_notebook(folder, source, page, all_pages, run=run_notebooks)
    for page, text in generated_pages().items():
        _write(folder / page, text)
    _copy_files(folder)


def generated_pages() -> dict[str, str]:
    """The pages that are made from the package and the gallery."""
    return {
        "command-line.md": command_pages.page(),
        "error-messages.md": message_pages.page(),
        "gallery/index.md": gallery_cards.page(),
        **api_pages.pages(),
        **schema_pages.pages(),
    }


def _stage_notebook(
    folder: Path, source: str, page: str, all_pages: dict[str, str], *, run: bool
) -> None:
    for name, content in notebook_pages.pages(places.ROOT / source, page, run_it=run).items():
        text = staged(content, source, page, all_pages) if name.endswith(".md") else content
        _write(folder / name, text)


def _copy_files(folder: Path) -> None:
    """Pictures and tables of docs, plots of studies, the live gallery, the style, the script."""
    found = {
        path: path.relative_to(places.ROOT / "docs").as_posix()
        for path in (places.ROOT / "docs").rglob("*")
        if path.suffix in (".svg", ".png", ".csv")
    }
    reports = places.ROOT / "reports"
    plots = (reports / "studies").rglob("*.svg")
    found |= {path: path.relative_to(reports).as_posix() for path in plots}
    found |= gallery_cards.files()
    found |= {places.HERE / name: name for name in ("site.css", "iframe-worker.js")}
    for path, name in found.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)


def build(work: Path, out: Path) -> None:
    """Run mkdocs, strictly, on what was staged."""
    api = [(page.split("/")[1].removesuffix(".md"), page) for page in api_pages.pages()][1:]
    rooms = [{name: page} for name, page in api]
    entries = navigation.navigation(places.pages(), GENERATED)
    reference = next(entry for entry in entries if navigation.GENERATED in entry)
    listed = reference[navigation.GENERATED]
    at = listed.index({"Python API": "api/index.md"})
    listed[at] = {"Python API": ["api/index.md", *rooms]}
    config = (places.HERE / "mkdocs.yml").read_text(encoding="utf-8")
    config = config.replace("@ROOT@", str(places.ROOT))
    config += yaml.safe_dump({"nav": entries, "docs_dir": "pages", "site_dir": str(out)})
    _write(work / "mkdocs.yml", config)
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--clean",
        "-f",
        str(work / "mkdocs.yml"),
    ]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit("mkdocs refused the pages: see above")


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


if __name__ == "__main__":
    main()
