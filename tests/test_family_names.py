"""Laws of the names of families: however alike they begin, they are told apart."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from example_circuit import example_circuit, tiny_circuit
from hypothesis import given
from hypothesis import strategies as st

from circuitkit.circuit.transfer import WHOLE, Bounded, Cell, FamilyCircuit, Transfer
from circuitkit.cli.families_text import families_lines, transfer_lines
from circuitkit.provenance import Named
from circuitkit.views.overlay_diagram import overlay_diagram
from circuitkit.views.safe_text import prose, shorten, told_apart
from circuitkit.views.transfer_section import transfer_section

ALIKE = tuple(f"prompts_with_a_function_in_front_{end}" for end in "AB")


def transfer_of(names: tuple[str, ...]) -> Transfer:
    """The transfer of families of these names."""
    f = Bounded(effect=0.9, low=0.8, high=1.0)
    families = tuple(
        FamilyCircuit(
            name=name, folder=None, n_pairs=9, n_templates=9, model_loss_nats=0.1,
            target_loss_nats=0.15, n_nodes=14, n_edges=9, circuit_sha256="0",
        )
        for name in names
    )  # fmt: skip
    cells = tuple(
        Cell(circuit=row, family=name, loss_nats=0.1, f=f, f_x=f)
        for row in (*names, WHOLE)
        for name in names
    )
    return Transfer(
        task=Named(name="t", sha256="0"), checkpoint=Named(name="c", sha256="0"),
        circuit_sha256=None, by="kind", rung="smallest", f_limit=0.5, families=families,
        cells=cells, overlaps=(), outcome="one", reason="so it is", groups=(),
    )  # fmt: skip


def legend(*names: str) -> list[tuple[str, str]]:
    """Every label of a picture's legend with its colour."""
    circuits = dict(zip(names, (example_circuit(), tiny_circuit()), strict=True))
    source = overlay_diagram(circuits).source
    return re.findall(r'"legend \d" \[.*?fillcolor="(.*?)".*?label="?([^" ]+)', source)


@given(st.lists(st.text("ab🙂", max_size=50), unique=True))
def test_no_two_names_are_shown_alike(names):
    """Short ones as they are, long ones cut as early as they differ."""
    for cut in (prose, shorten):
        shown = told_apart(names, 20, cut)
        assert len(set(shown.values())) == len(names)
        assert all(shown[name] == cut(name, 20) or len(shown[name]) > 20 for name in names)


def test_names_that_differ_in_spaces_only_stay_alike():
    """Words are set with one space between them; no length tells such names apart."""
    assert set(told_apart(["a  b", "a b"], 20, prose).values()) == {"a b"}


@pytest.mark.parametrize("names", [ALIKE, ("all", "some")])
def test_every_circuit_has_its_colour_in_the_legend(names):
    """Also where names begin alike, or one is called as the grey of all is."""
    found = legend(*names)
    assert [label for _, label in found] == [*names, "all"]
    assert len({colour for colour, _ in found}) == 3


def test_rows_and_columns_of_a_transfer_are_told_apart():
    """On the page and in the report."""
    section = transfer_section(transfer_of(ALIKE), {})
    assert section
    assert section["columns"] == list(ALIKE)
    assert [row["name"] for row in section["rows"]] == [*ALIKE, "the whole task"]


def test_rows_and_columns_of_a_printed_transfer_are_told_apart_and_aligned():
    """Numbers stand below their column, however long the names are."""
    _, head, *rows = transfer_lines(transfer_of(ALIKE))
    assert all(name in head for name in ALIKE)
    assert [row.split(",")[0] for row in rows[:2]] == list(ALIKE)
    assert {len(row) for row in rows} == {len(head)}


def test_printed_families_are_told_apart_and_aligned():
    """A row a family."""
    pairs = dict.fromkeys(("train", "select", "test"), ())
    families = [SimpleNamespace(name=n, pairs=pairs, templates=lambda _: ()) for n in ALIKE]
    found: Any = SimpleNamespace(
        families=SimpleNamespace(families=families, by="kind"), nodes=None, strength=None,
        loss_nats=dict.fromkeys(ALIKE, 0.1), accuracy=dict.fromkeys(ALIKE, 1.0), goes_with=(),
    )  # fmt: skip
    _, head, *rows = families_lines(found, "task on checkpoint")
    assert [row.split()[0] for row in rows] == list(ALIKE)
    assert {row.index("0.1000") for row in rows} == {head.index("loss")}
