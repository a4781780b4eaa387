"""Laws of what a package index and a citation manager read: it is there, and agrees."""

import re
import tomllib
from pathlib import Path

import pytest

import circuitkit

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
HOME = "https://github.com/circuitkit/circuitkit"
BLOB = f"{HOME}/blob/main/"


def top_level(text):
    """Every key of a YAML file that begins a line, with what follows up to the next key."""
    parts = re.split(r"^([a-z-]+):", text, flags=re.MULTILINE)
    assert parts[0] == ""
    keys = parts[1::2]
    assert len(set(keys)) == len(keys), "a key is there twice"
    return {key: value.strip() for key, value in zip(keys, parts[2::2], strict=True)}


FIELDS = top_level(CITATION)


def test_a_key_is_read_with_its_lines():
    """Folded text and lists belong to the key before them; a key twice is refused."""
    read = top_level("title: a b\nlist:\n  - name: x\nversion: 1\n")
    assert read == {"title": "a b", "list": "- name: x", "version": "1"}
    with pytest.raises(AssertionError, match="twice"):
        top_level("title: a\ntitle: b\n")


def test_the_citation_file_has_the_keys_that_its_format_asks_for():
    """Citation File Format 1.2.0: four required, and those that make a reference useful."""
    assert FIELDS["cff-version"] == "1.2.0"
    asked = {"message", "title", "authors", "version", "license", "repository-code", "abstract"}
    assert all(FIELDS[key] for key in asked)
    assert "\t" not in CITATION


def test_the_citation_is_in_step_with_the_project():
    """Version, licence, authors, keywords and address."""
    assert FIELDS["version"] == PROJECT["version"] == circuitkit.__version__
    assert FIELDS["title"] == PROJECT["name"].removeprefix("sparse-")
    assert FIELDS["license"] == PROJECT["license"]
    assert [{"name": name} for name in entries(FIELDS["authors"], "name: ")] == PROJECT["authors"]
    assert entries(FIELDS["keywords"], "") == PROJECT["keywords"]
    assert FIELDS["repository-code"] == PROJECT["urls"]["Source"]


def entries(text, label):
    """The items of a list, one a line."""
    return [line.strip().removeprefix(f"- {label}") for line in text.splitlines()]


def test_the_paper_is_among_the_references():
    """By title, authors, year and address."""
    paper = FIELDS["references"]
    assert "title: Weight-sparse transformers have interpretable circuits" in paper
    assert re.findall(r"family-names: (\w+)", paper)[0] == "Gao"
    assert "year: 2025" in paper
    assert "https://arxiv.org/abs/2511.13653" in paper


def test_every_address_of_the_project_leads_into_its_repository():
    """A page named in it exists there."""
    urls = PROJECT["urls"]
    assert set(urls) == {
        "Homepage", "Documentation", "Source", "Issues", "Changelog", "Gallery",
    }  # fmt: skip
    assert urls["Homepage"] == urls["Source"] == HOME
    assert urls["Issues"] == f"{HOME}/issues"
    pages = {urls[name] for name in ("Documentation", "Changelog", "Gallery")}
    assert all(page.startswith(BLOB) for page in pages)
    missing = [p for p in pages if not (ROOT / p.removeprefix(BLOB)).is_file()]
    assert missing == []


def test_the_package_says_that_it_has_types():
    """The marker that type checkers look for, and its classifier."""
    assert (ROOT / "circuitkit" / "py.typed").read_bytes() == b""
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_a_release_is_checked_before_it_is_published():
    """By a tag that is the version, with all tests, and without a password."""
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    build, publish = text.split("  publish:")
    wanted = ("GITHUB_REF_NAME", "bash .ci/run", "make release-check")
    at = [build.index(each) for each in wanted]
    assert at == sorted(at)
    assert "needs: build" in publish
    assert "id-token: write" in publish
    assert "id-token" not in build
    assert not re.search(r"secrets\.|password:|token:(?! write)", text)


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_library_is_pinned_for_the_tests():
    """Whatever the project or an extra of it asks for is in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonical(line.partition("==")[0]) for line in lines if "==" in line}
    extras = PROJECT["optional-dependencies"].values()
    asked = [*PROJECT["dependencies"], *(one for extra in extras for one in extra)]
    names = {canonical(re.match(r"[\w.-]+", one).group()) for one in asked} - {PROJECT["name"]}
    assert names - pinned == set()


def test_the_oldest_versions_that_are_tested_are_those_that_are_allowed():
    """Of all that an install without extras brings, and of what training and tuning need."""
    extras = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *extras["train"], *extras["tune"]]
    floors = dict(re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", each).groups()
                  for each in asked if not each.startswith("sparse-circuitkit"))  # fmt: skip
    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    assert floors == dict(line.split("==") for line in lines if not line.startswith("#"))
