"""The navigation of the site: the sections and links of ``docs/README.md``, in their order.

So the index that is read on GitHub and the site's navigation cannot differ, and a page that is
added to one is in the other.
"""

from __future__ import annotations

import re
from posixpath import normpath

from places import ROOT, in_site

SECTION = re.compile(r"^\*\*(.+)\*\*$")
ITEM = re.compile(r"^- \[([^\]]+)\]\(([^)]+)\)")
GENERATED = "Reference"
"""The section that gets the pages made from the package."""


def sections(index: str, all_pages: dict[str, str]) -> dict[str, list[tuple[str, str]]]:
    """Section by section, a title (empty for the page's own) and a page of the site."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in index.splitlines():
        if heading := SECTION.match(line):
            found[heading[1]] = []
        elif (item := ITEM.match(line)) and found:
            title, target = item.groups()
            page = in_site(normpath(f"docs/{target}"), all_pages)
            if page is None:
                raise SystemExit(f"docs/README.md lists {target}, which is no page of the site")
            name = "" if title.endswith(".md") else title
            found[list(found)[-1]].append((name, page))
    return found


def navigation(all_pages: dict[str, str], generated: list[tuple[str, str]]) -> list[dict]:
    """As mkdocs takes it; every page that is listed nowhere is an error of the strict build."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    found = sections(index, all_pages)
    if GENERATED not in found:
        raise SystemExit(f"docs/README.md has no section **{GENERATED}**")
    found[GENERATED] += generated
    listed = [{name: [_entry(*item) for item in items]} for name, items in found.items()]
    return [{"Front page": "index.md"}, *listed, {"All pages": "contents.md"}]


def _entry(title: str, page: str) -> str | dict[str, str]:
    return {title: page} if title else page
