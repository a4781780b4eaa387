"""Laws of the site: every page is in it, every link leads somewhere, nothing is fetched or made up.

``make docs`` builds it strictly; here are the parts that need neither mkdocs nor a browser.
"""

import json
import re
import sys
from pathlib import Path

import click
import pytest

import circuitkit
from circuitkit.cli import circuitkit as command_line

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs" / "site"))

import api_pages  # noqa: E402
import check_built  # noqa: E402
import command_pages  # noqa: E402
import draw_pictures  # noqa: E402
import gallery_cards  # noqa: E402
import message_pages  # noqa: E402
import navigation  # noqa: E402
import places  # noqa: E402
import schema_pages  # noqa: E402
import staged_pages  # noqa: E402

PAGES = places.pages()
GALLERY = ROOT / "reports" / "gallery"


def staged(text, source="docs/tasks.md"):
    return staged_pages.staged(text, source, PAGES[source], PAGES)


# Navigation


def listed(entries):
    """The pages that a navigation names."""
    for entry in entries:
        found = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from [found] if isinstance(found, str) else listed(found)


def test_the_navigation_has_every_page():
    """Those of docs, the notebooks, the pages from elsewhere, and those made from the package."""
    generated = [("Command line", "command-line.md")]
    names = list(listed(navigation.navigation(PAGES, generated)))
    assert set(names) == {*PAGES.values(), "command-line.md"}
    assert len(names) == len(set(names))


def test_the_index_names_its_sections_and_titles():
    """A title of its own, or the page's where the link is its file name."""
    index = "**A**\n- [One](tasks.md): x\n**B**\n- [studies.md](studies.md): y\n"
    assert navigation.sections(index, PAGES) == {
        "A": [("One", "tasks.md")],
        "B": [("", "studies.md")],
    }
    with pytest.raises(SystemExit, match=r"lists gone\.md, which is no page"):
        navigation.sections("**A**\n- [gone](gone.md): x\n", PAGES)


# Pages


@pytest.mark.parametrize(
    ("link", "becomes"),
    [
        ("extraction.md#target", "extraction.md#target"),
        ("#leaks", "#leaks"),
        ("https://example.org/x.md", "https://example.org/x.md"),
        ("../CHANGELOG.md", "changelog.md"),
        ("../README.md#install", "index.md#install"),
        ("../reports/gallery", "gallery/index.md"),
        ("notebooks/own_task.ipynb", "notebooks/own_task.md"),
        ("../tasks/frames.toml", f"{places.BLOB}tasks/frames.toml"),
        (f"{places.BLOB}docs/validation.md#grades", "validation.md#grades"),
        (f"{places.RAW}reports/gallery/tinypython-nano/for_while/paths.svg",
         "gallery/tinypython-nano/for_while/paths.svg"),
    ],
)  # fmt: skip
def test_a_link_leads_to_the_same_in_the_site(link, becomes):
    """To its page there, else to the repository."""
    assert staged(f"[x]({link})\n") == f"[x]({becomes})\n"


def test_links_are_relative_to_the_page():
    """Also from a notebook, which lies a folder deeper."""
    source = "docs/notebooks/own_task.ipynb"
    assert staged("[x](../tasks.md#leaks)", source) == "[x](../tasks.md#leaks)"
    assert staged("[x](wrong_circuit.ipynb)", source) == "[x](wrong_circuit.md)"


def test_a_link_to_nothing_is_refused():
    """By the page that has it."""
    with pytest.raises(SystemExit, match=r"docs/tasks\.md links lost\.md"):
        staged("[x](lost.md)")


def test_code_is_left_as_it_is():
    """Links and signs of formulas in it mean nothing; a named block gets its name as a title."""
    text = "```toml x.toml\n[a](b.md)\n- $x$\n```\n"
    assert staged(text) == text.replace("toml x.toml", 'toml title="x.toml"')
    assert staged("`$x$ a` and `$y$`\n") == "`$x$ a` and `$y$`\n"


def test_a_list_may_follow_its_sentence():
    """As GitHub reads it; Python-Markdown wants an empty line between."""
    assert staged("Two:\n- a\n- b\n") == "Two:\n\n- a\n- b\n"
    assert staged("- a\n- b\n") == "- a\n- b\n"


def test_formulas_are_drawn_without_a_script():
    """Inline and on lines of their own; no sign of Markdown is left in them."""
    pytest.importorskip("latex2mathml")
    made = staged("so $F_x * 2$ is\n\n$$\\frac{a}{b}$$\n")
    assert made.startswith("so <span><math")  # Python-Markdown takes a bare one for a block
    assert made.count("<math") == 2
    assert "<mfrac>" in made
    assert "$" not in made
    assert not re.search(r"[*_`\\]", made.replace("\n", ""))


# What is made from the package


def test_every_command_is_in_its_page():
    """With its help, those inside groups too."""
    page = command_pages.page()
    ctx = click.Context(command_line)
    for name in command_line.list_commands(ctx):
        assert f"## circuitkit {name}\n" in page
        assert f"Usage: circuitkit {name} " in page
    assert "## circuitkit tasks check\n" in page
    assert "Usage: circuitkit tasks check " in page
    assert page.count("Example:") >= page.count("\n## ") - 1


def test_every_public_name_is_in_the_reference():
    """Once, and in the overview."""
    made = api_pages.pages()
    text = "\n".join(made.values())
    entries = re.findall(r"^::: circuitkit\.(?:\w+\.)*(\w+)$", text, re.MULTILINE)
    assert sorted(entries) == sorted(circuitkit.__all__)
    assert all(f"[`{name}`]" in made["api/index.md"] for name in circuitkit.__all__)


def test_messages_are_read_from_code():
    """Joined strings and f-strings, with what varies in braces; other calls are no messages."""
    source = """
def f(path, n):
    raise TaskError(f"{path.name} holds {n + 1} tokens; " + "expected one.")
    raise ValueError("not one of ours")
    raise errors.PairError(message, "x")
"""
    assert list(message_pages.messages(source)) == [
        ("TaskError", "{name} holds {n} tokens; expected one.")
    ]


def test_every_error_is_in_its_page():
    """With messages that the package has."""
    page = message_pages.page()
    for kind in message_pages.KINDS:
        assert f"## {kind}\n" in page
    assert "is no token of its own" in page
    assert page.count("\n- ") > 200


@pytest.mark.parametrize(
    ("name", "path"),
    [("circuit", "circuit.json"), ("validation", "validation.json"),
     ("explanation", "explanation.json")],
)  # fmt: skip
def test_a_file_of_the_gallery_keeps_its_schema(name, path):
    """And one with an unknown key does not."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(schema_pages.pages()[schema_pages.file_name(f"circuitkit.{name}/1")])
    held = json.loads((GALLERY / "tinypython-nano" / "for_while" / path).read_text())
    jsonschema.validate(held, schema)
    with pytest.raises(jsonschema.ValidationError, match=r"(were|was) unexpected"):
        jsonschema.validate(held | {"colour": 1}, schema)


def test_every_format_with_a_class_has_a_schema():
    """A table of its fields and a file."""
    names = set(schema_pages.formats())
    assert {f"circuitkit.{name}/1" for name in ("circuit", "validation", "task", "checkpoint",
            "training", "study", "explanation")} <= names  # fmt: skip
    made = schema_pages.pages()
    assert all(f"## {name}\n" in made["file-formats.md"] for name in names)
    assert all(schema_pages.file_name(name) in made for name in names)


# The gallery and the pictures


def test_every_circuit_with_a_page_has_its_card():
    """With the numbers of its files; what a card links is copied."""
    page, copied = gallery_cards.page(), set(gallery_cards.files().values())
    folders = gallery_cards.folders()
    assert (
        page.count('class="thumbnail"')
        == len(folders)
        == len(list(GALLERY.glob("*/*/report.html")))
    )
    assert {f"gallery/{link}" for link in re.findall(r'(?:href|src)="([^"]+)"', page)} <= copied
    circuit = json.loads((GALLERY / "tinypython-sparse" / "with_open" / "circuit.json").read_text())
    assert f"{circuit['n_nodes']} nodes, {circuit['n_edges']} edges, grade" in page


def test_the_pictures_are_those_of_the_gallery(tmp_path):
    """Drawn again they are the same: python docs/site/draw_pictures.py."""
    for path in draw_pictures.draw(tmp_path):
        assert path.read_bytes() == (ROOT / "docs" / "pictures" / path.name).read_bytes(), path.name


# What was built


@pytest.fixture
def built(tmp_path):
    (tmp_path / "a.html").write_text('<h1 id="top">A</h1><a href="b.html#x">b</a>')
    (tmp_path / "b.html").write_text(
        '<p id="x">B</p><img src="c.svg"><a href="https://x.org">x</a>'
    )
    (tmp_path / "c.svg").write_text("<svg/>")
    (tmp_path / "search").mkdir()
    for name in check_built.SEARCHED:
        (tmp_path / name).touch()
    return tmp_path


def test_a_whole_site_has_no_problem(built):
    """Links away are no business of ours."""
    assert check_built.problems(built) == []


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ('<a href="lost.html">x</a>', "a.html: lost.html leads nowhere"),
        ('<a href="b.html#lost">x</a>', "a.html: b.html#lost leads nowhere"),
        ('<img src="lost.svg">', "a.html: lost.svg leads nowhere"),
        ('<script src="https://cdn.org/x.js"></script>', "a.html fetches https://cdn.org/x.js"),
        ('<link rel="stylesheet" href="//fonts.org/x.css">', "a.html fetches //fonts.org/x.css"),
    ],
)
def test_what_is_wrong_with_a_built_page_is_found(built, html, problem):
    """In raw HTML too, which the strict build does not look at."""
    (built / "a.html").write_text(html)
    assert check_built.problems(built) == [problem]


def test_a_site_that_cannot_be_searched_from_the_disk_is_found(built):
    (built / "search" / "search_index.js").unlink()
    problem = "search/search_index.js is missing: the search of a site on the disk needs it"
    assert check_built.problems(built) == [problem]


# The first pages


def test_the_first_circuit_is_that_of_the_gallery():
    """What the page shows is what extract prints of it, and the verdict's last line."""
    from circuitkit import Circuit, Validation
    from circuitkit.cli.circuit_text import in_words
    from circuitkit.findings import DEFAULT_CLAIMS
    from circuitkit.validation.verdict import grade_of

    folder = GALLERY / "tinypython-nano" / "for_while"
    text = (ROOT / "docs" / "first-circuit.md").read_text(encoding="utf-8")
    said = click.unstyle(in_words(Circuit.load(folder), folder)).partition(str(folder))[0]
    assert f"```text\n{said}" in text
    findings = [f for f in Validation.load(folder).findings if f.claim in DEFAULT_CLAIMS]
    assert {f.outcome for f in findings} == {"pass"}
    assert f"grade {grade_of(findings)}; weakest finding: the thorough suite was not run\n" in text
    kept = {str(node) for node in Circuit.load(folder).nodes}
    assert {"1.mlp.post_act:182", "1.attn.resid_delta:78"} <= kept  # the reading of the picture
