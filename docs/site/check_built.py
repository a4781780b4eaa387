"""What the strict build does not see: links in raw HTML, what a page would fetch, the search."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}

SEARCHED = ("iframe-worker.js", "search/search_index.js")
"""What the search reads where there is no server, and so no worker and nothing fetched."""


class _Page(HTMLParser):
    """The anchors of a page, what it links and what it fetches."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found.get("id", ""), found.get("name", "")}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if (
            tag in FETCHED
            and FETCHED[tag] in found
            and found.get("rel") not in ("canonical", "prev", "next")
        ):
            self.fetched.append(found[FETCHED[tag]])


def problems(site: Path) -> list[str]:
    """Each link that leads nowhere, each address fetched from elsewhere, a search without index."""
    ours = [p for p in sorted(site.rglob("*.html")) if p.name != "report.html"]
    read = {path: _Page(path.read_text(encoding="utf-8")) for path in ours}
    lost = [name for name in SEARCHED if not (site / name).exists()]
    found = [f"{name} is missing: the search of a site on the disk needs it" for name in lost]
    for path, page in read.items():
        if path.name == "404.html":
            continue
        name = path.relative_to(site).as_posix()
        found += [f"{name} fetches {link}" for link in page.fetched if urlsplit(link).netloc]
        found += [f"{name}: {link} leads nowhere" for link in [*page.links, *page.fetched]
                  if not _is_there(link, path, read)]  # fmt: skip
    return found


def _is_there(link: str, path: Path, read: dict[Path, _Page]) -> bool:
    parts = urlsplit(link)
    if parts.netloc or parts.scheme:
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    anchors = read[target].anchors if target in read else None
    return target.exists() and (
        not parts.fragment or anchors is None or unquote(parts.fragment) in anchors
    )
