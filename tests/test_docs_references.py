"""Laws of references: what a file points to is in the repository."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", *DOCS, *(ROOT / ".github").rglob("*.md")]
CODE = [*(ROOT / "circuitkit").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
MADE_UP = {Path(__file__), ROOT / "tests" / "test_site.py"}
"""Tests that name pages which are not here: planted ones, and pages of the built site."""

POINTING = sorted({*PAGES, *CODE} - MADE_UP)
READ = sorted(
    {
        *POINTING,
        *(ROOT / "reports").glob("*.py"),
        *(ROOT / "reports" / "templates").rglob("*.*"),
        *(ROOT / "tasks").glob("*.toml"),
    }
)
"""What a person may open, and follow a reference from."""

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
ANCHOR = re.compile(r"docs/([\w-]+\.md)#([\w-]+)")
PAGE_NAME = re.compile(r"(?<![\w/.-])(?:[\w.-]+/)*[\w.-]+\.md\b")
GONE = re.compile(
    r"\b(?:DESIGN|EXTRACTION|VALIDATION|TRAINING|REPORTS|STUDIES|INTEROP|FACTS|STYLE)"
    r"(?:\.md|\s+(?:#\s*)?sections?\b)|\b(?:DESIGN|INTEROP|FACTS)\b"
)
"""Documents that were never in the repository, by their names and sections."""


def name_of(path):
    return str(path.relative_to(ROOT))


def anchors(page):
    """The anchors that GitHub gives the headings of a page."""
    found = []
    for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return found


def dead_anchors(text):
    """The ``docs/PAGE.md#ANCHOR`` of a text that lead nowhere."""
    dead = []
    for name, anchor in ANCHOR.findall(text):
        page = ROOT / "docs" / name
        if not page.exists() or anchor not in anchors(page):
            dead.append(f"docs/{name}#{anchor}")
    return dead


def dead_references(text):
    """Documents that a text names and the repository lacks."""
    flat = " ".join(text.split())
    named = {found for found in PAGE_NAME.findall(flat) if not _is_there(found)}
    return sorted({found.group() for found in GONE.finditer(flat)} | named)


def _is_there(name):
    """As a path from the root, from docs, or as the name of a page somewhere."""
    name = name.replace("../", "")  # from a page that is made elsewhere
    return any((ROOT / folder / name).exists() for folder in (".", "docs", ".github", "findings"))


@pytest.mark.parametrize("path", POINTING, ids=name_of)
def test_every_anchor_leads_to_a_heading(path):
    """``docs/validation.md#sufficient``, in code, tests and pages."""
    assert dead_anchors(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", READ, ids=name_of)
def test_no_reference_to_a_document_that_is_not_here(path):
    """A reader can open whatever is named."""
    assert dead_references(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "README.md" or p in DOCS],
                         ids=name_of)  # fmt: skip
def test_every_link_of_a_page_leads_somewhere(page):
    """Relative to the page, anchors included."""
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_code_can_point_at_every_definition():
    """The anchors that code points at are there."""
    pages = {name: anchors(ROOT / "docs" / f"{name}.md") for name in ("extraction", "validation")}
    assert {
        "circuit", "means", "target", "mask-learning", "discretisation", "elimination",
        "edge-pruning", "search",
    } <= set(pages["extraction"])  # fmt: skip
    assert {"statistics", "grades", "ablations"} <= set(pages["validation"])


def test_dead_references_are_found():
    """Each kind, also over a line break; what is there is not reported."""
    assert dead_anchors("see docs/validation.md#nowhere, docs/no.md#x") == [
        "docs/validation.md#nowhere",
        "docs/no.md#x",
    ]
    assert dead_anchors("see docs/validation.md#sufficient") == []
    for text in (
        *("Source: VALIDATION\nsection 3", "EXTRACTION sections 2 and 3", "INTEROP section 4"),
        *("as STYLE.md says", "DESIGN: the paper's A.1", "see docs/lost.md"),
    ):
        assert dead_references(text), text
    assert dead_references("docs/tasks.md, CHANGELOG.md, validation.md; VALIDATION = 3") == []


def test_every_page_is_in_the_index():
    """``docs/README.md`` links each of them."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    missing = [
        page.name for page in DOCS if page.name != "README.md" and f"]({page.name})" not in index
    ]
    assert missing == []
