"""The report after page one: evidence, nodes, attention, examples, the ladder, terms."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import pytest
from example_circuit import example_circuit, example_validation, finding, random_circuit
from example_explanation import CONSTANT, example, example_explanation, note, run

from circuitkit.circuit import CircuitFolder
from circuitkit.circuit.explanation import Context
from circuitkit.errors import CircuitError
from circuitkit.findings import Claim, FormLoss, NodeUse, Validation
from circuitkit.views import intervals_section
from circuitkit.views.attention_section import attention
from circuitkit.views.findings_section import GRADES, finding_row
from circuitkit.views.flow_section import MAX_NODES, node_cards
from circuitkit.views.forms_section import forms_section
from circuitkit.views.heatmap import heatmap
from circuitkit.views.intervals_section import intervals, pass_region
from circuitkit.views.ladder_section import ladder, read_rungs
from circuitkit.views.page_nodes import node_cards as page_cards
from circuitkit.views.prompt_section import examples, prompt
from circuitkit.views.report_data import page
from circuitkit.views.reported import Reported
from circuitkit.views.search_section import made
from circuitkit.views.terms_section import terms

GALLERY = sorted(
    (Path(__file__).parents[1] / "reports" / "gallery").glob("tinypython-nano/*/validation.json")
)

LADDER = (
    "rung,outcome,n_nodes,n_edges,f_mean,gain,cue_kept,failed\n"
    "smallest,target_met,38,29,0.845,3.0412,,\n"
    "trusted,target_met,79,81,0.991,-1.5,1.0,norms at 1.20 of its limit\n"
)


def one(outcome: str, effect: float, low: float, high: float, threshold: str) -> dict:
    """The row of the plot for one finding."""
    found = finding(Claim.SUFFICIENT, (outcome, effect, low, high, "nats", threshold))
    (row,) = intervals(
        Validation(grade="C", weakest=Claim.SUFFICIENT, circuit_sha256="x", findings=(found,))
    )
    return row


def test_an_interval_is_drawn_beside_the_region_that_passes():
    """All on one scale from 0 to 1, with room at both ends."""
    row = one("pass", 0.1, 0.05, 0.15, "upper bound ≤ 0.20")
    assert row["passes"] == [0.0, row["limits"][0]]
    assert 0 < row["low"] < row["effect"] < row["high"] < row["limits"][0] < 1
    assert row["region"] == "≤ 0.2"
    both = one("fail", 0.9, 0.8, 1.0, "interval inside [0.35, 0.65], Nec ≥ 0.8")
    assert both["region"] == "0.35 to 0.65"
    assert both["passes"] == both["limits"]
    assert both["low"] > both["limits"][1]


def test_an_effect_alone_stands_in_the_middle():
    """With neither interval nor threshold there is still a scale."""
    row = one("pass", 2.0, 2.0, 2.0, "")
    assert (row["effect"], row["passes"], row["limits"], row["region"]) == (0.5, None, [], "")


@pytest.mark.parametrize(
    ("threshold", "region"),
    [
        ("lower bound ≥ 0.90", (0.9, None)),
        ("mean ≤ 0.15, greedy worst ≤ 0.5", (None, 0.15)),
        ("F in [0.70, 1.10] at every size", (0.7, 1.1)),
        ("≥ \N{MINUS SIGN}0.5", (-0.5, None)),
        ("all of it", (None, None)),
    ],
)
def test_the_first_limit_of_a_threshold_is_read(threshold, region):
    """A bound, two of them, or none."""
    assert pass_region(threshold) == region


def test_the_examples_of_the_docstrings_run():
    """What the docstrings show is what happens."""
    assert doctest.testmod(intervals_section).failed == 0


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.parent.name)
def test_whatever_passes_lies_in_the_region_that_is_drawn(path):
    """In every validation of the gallery; what fails by its first limit lies outside."""
    for row in intervals(Validation.load(path.parent)):
        if row["passes"] and row["outcome"] == "pass":
            start, end = row["passes"]
            assert start - 1e-3 <= row["low"] <= row["high"] <= end + 1e-3, row["claim"]


def test_a_threshold_on_p_is_not_drawn_over_another_effect():
    """A ratio is not compared with a limit of its p-value."""
    found = finding(Claim.SEARCH_NULL, ("pass", 285.0, None, None, "times", "p ≤ 0.05"))
    found = found.model_copy(update={"p_value": 0.05})
    (row,) = intervals(
        Validation(grade="A", weakest=Claim.SEARCH_NULL, circuit_sha256="x", findings=(found,))
    )
    assert row["passes"] is None


FORMS = tuple(
    FormLoss(form=form, n_pairs=n, n_templates=n, loss_nats=0.1, low=low, high=high)
    for form, n, low, high in (("x", 9, 0.05, 0.2), ("y", 9, 0.05, 0.2), ("few", 4, None, None))
)


def by_form(**uses: tuple[str, ...]) -> dict:
    """The section of a validation with three forms, one of them of too few templates."""
    named = tuple(NodeUse(node=node, forms=forms) for node, forms in uses.items())
    validation = example_validation(example_circuit())
    found = forms_section(validation.model_copy(update={"forms": FORMS, "uses": named}))
    assert found
    return found


def test_a_form_on_which_no_node_is_known_to_matter_has_no_number_of_nodes():
    """An interval of its loss does not say that it was tested: nodes are tried on fewer pairs."""
    found = by_form(n1=("x", "y"), n2=("x",))
    assert [row["n_nodes"] for row in found["rows"]] == ["2", "1", "–"]
    assert found["n_everywhere"] == 1
    assert [row["n_nodes"] for row in by_form()["rows"]] == ["–", "–", "–"]
    found = by_form(n1=("x",), n2=("x",), n3=())
    assert [row["n_nodes"] for row in found["rows"]] == ["2", "–", "–"]
    assert (found["n_everywhere"], found["groups"]) == (2, [])


def test_a_note_is_shown_whole():
    """A long note is not cut in the table of findings."""
    found = finding(Claim.SPECIFIC, ("fail", 1.0, 0.9, 1.1, "", "")).model_copy(
        update={"note": "its own task loses; the others " * 60}
    )
    assert finding_row(found)["note"] == " ".join(found.note.split())


def test_nodes_come_in_the_order_of_flow():
    """Each with its role, what it adds, what it reads and writes, and where it is active."""
    circuit = example_circuit()
    cards = node_cards(circuit, example_explanation(circuit))["cards"]
    assert [card["label"] for card in cards] == [node.label(16) for node in circuit.nodes]
    by_label = {card["label"]: card for card in cards}
    v = by_label["0.attn.v h2.c1"]
    assert v["reads"] == "0.attn.act_in:17 × 1.42, 0.attn.act_in:54 × \N{MINUS SIGN}0.61"
    assert v["writes"] == "0.attn.resid_delta:61 × 1.90, 0.attn.resid_delta:88 × \N{MINUS SIGN}0.70"
    assert (v["role"], v["adds"]) == ("turns with the cue", "+0.50 in a, +0.40 in b")
    assert v["contexts"][0] == {"before": "rows␣=", "token": "␣[", "activation": "2.5"}
    assert [context["activation"] for context in v["contexts"]] == ["2.5", "2.0", "1.5"]
    assert by_label["0.mlp.post_act:340"]["role"] == "constant"


def test_a_write_says_where_along_its_channel_it_is_read():
    """A residual link has no weight; the final read says its answers."""
    circuit = example_circuit()
    cards = node_cards(circuit, example_explanation(circuit))["cards"]
    by_label = {card["label"]: card for card in cards}
    assert by_label["0.attn.resid_delta:88"]["writes"] == "0.mlp.act_in:88"
    assert "']]' × 1.50" in by_label["final_resid:9"]["writes"]


def test_a_query_or_key_decides_where_its_head_looks():
    """So say the report and the page; the head is named where it is known."""
    circuit = example_circuit()
    for told in (circuit, circuit.model_copy(update={"surroundings": None})):
        explained = example_explanation(circuit)
        report, page_ = node_cards(told, explained)["cards"], page_cards(told, explained)
        for node, *cards in zip(told.nodes, report, page_, strict=True):
            head = " 1.5" if told.surroundings else ""
            decides = f"decides where head{head} looks"
            said = {card["writes"] == decides for card in cards}
            assert said == {node.site.place in ("q", "k")}


def test_a_context_fits_its_line_and_is_cut_between_tokens():
    """What comes before is left out token by token; a place outside its tokens is no context."""
    circuit = example_circuit()
    long = Context(tokens=("word" * 9, " a", "\n", "x"), at=2, activation=1.0)
    outside = Context(tokens=("a",), at=4, activation=1.0)
    explained = example_explanation(circuit)
    notes = dict.fromkeys(explained.nodes, note(highest=(long, outside), lowest=()))
    explained = explained.model_copy(update={"nodes": notes})
    (context,) = node_cards(circuit, explained)["cards"][0]["contexts"]
    assert context == {"before": "wordwordw…␣a", "token": r"\n", "activation": "1.0"}


def test_nodes_of_very_large_circuits_are_cut_and_counted():
    """What is not shown is said to be elsewhere."""
    circuit = random_circuit(MAX_NODES + 20)
    found = node_cards(circuit, example_explanation(circuit))
    assert (len(found["cards"]), found["n_hidden"]) == (MAX_NODES, 20)


def test_a_head_has_a_row_of_weights_over_both_prompts():
    """What is missing to 1 goes to nothing; without heads there is no map."""
    circuit = example_circuit()
    found = attention(example_explanation(circuit))
    assert found
    (row,) = found["rows"]
    assert row["label"] == "head 1.5"
    assert [len(cells) for cells in row["cells"]] == [len(side) for side in found["sides"]]
    assert row["cells"][0][2] == 0.8
    assert row["sink"] == "0.10 / 0.11"
    around = circuit.surroundings
    assert around
    none = run(around.a).model_copy(update={"attention": {}})
    assert attention(example_explanation(circuit, a=none, b=none)) is None


def test_constant_nodes_are_left_out_of_the_heat_map():
    """Where the report knows which they are; it says how many."""
    circuit = example_circuit()
    shown = heatmap(circuit, CONSTANT)
    assert shown
    assert shown["n_constant"] == len(CONSTANT)
    assert not set(CONSTANT) & {row["label"] for row in shown["rows"]}


def test_examples_say_what_circuit_and_model_answer():
    """Those after the first, each with both prompts; a wrong answer is marked."""
    circuit = example_circuit()
    found = examples(example_explanation(circuit))
    assert [each["title"] for each in found] == [
        "A typical pair",
        "With a distractor: '␣[' is the cue of other pairs",
        "Out of distribution",
        "The worst pair",
    ]
    a, b = found[0]["prompts"]
    assert (a["difference"], a["model_difference"], a["right"]) == ("2.10", "3.00", True)
    assert (a["answer"], a["foil"], b["answer"]) == ("']]'", "']'", "']'")
    shown = example(circuit)
    wrong = shown.a.model_copy(update={"logit_difference": -1.0})
    assert prompt("a", wrong, shown.b)["right"] is False


def test_a_long_prompt_keeps_its_cue_and_its_end():
    """Of many tokens those near the cue and the last ones are shown, gaps are marked."""
    tokens = tuple(map(str, range(100)))
    around = {"tokens_a": tokens, "tokens_b": (*tokens[:10], "cue", *tokens[11:])}
    circuit = example_circuit(around=around)
    assert circuit.surroundings
    shown = prompt("a", circuit.surroundings.a, circuit.surroundings.b, limit=10)
    assert len(shown["tokens"]) == 10
    assert shown["n_hidden"] == 90
    assert [token["cue"] for token in shown["tokens"]][:3] == [False, True, False]
    assert any(token["gap"] for token in shown["tokens"])


def test_the_ladder_stands_as_rungs_side_by_side(tmp_path):
    """Measures are rows; what no rung has is left out."""
    (tmp_path / "ladder.csv").write_text(LADDER)
    found = ladder(read_rungs(tmp_path))
    assert found
    assert found["columns"] == ["smallest", "trusted"]
    rows = {row[0]: row[1:] for row in found["rows"]}
    assert rows["outcome"] == ["target met", "target met"]
    assert rows["what the final norm amplifies by"] == ["3.0412", "\N{MINUS SIGN}1.5"]
    assert rows["share of pairs whose cue survives a random background"] == ["–", "1.0"]
    assert rows["asked for and not met"] == ["–", "norms at 1.20 of its limit"]
    assert "F with the model's norms" not in rows


def test_a_search_of_one_rung_has_no_ladder(tmp_path):
    """Nor has a folder without the file."""
    assert read_rungs(tmp_path) == ()
    (tmp_path / "ladder.csv").write_text("\n".join(LADDER.splitlines()[:2]))
    assert ladder(read_rungs(tmp_path)) is None


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "rung,n_nodes\nsmallest,1,2,3\n"])
def test_a_table_that_is_no_ladder_is_refused(tmp_path, text):
    """By name, with what to do."""
    (tmp_path / "ladder.csv").write_text(text)
    with pytest.raises(CircuitError, match="is not a ladder: expected a column 'rung'"):
        read_rungs(tmp_path)


def test_the_legend_explains_what_readers_asked_about():
    """Terms of the evidence and every grade."""
    shown = " ".join(term for term, _ in terms())
    for term in ("F", "Nec", "nats", "floor", "foil", "ablation", "location-matched", "1-minimal"):
        assert any(term in text for entry in terms() for text in entry), term
    assert all(f"grade {grade}" in shown for grade in GRADES)


def test_everything_of_a_folder_is_in_its_report(tmp_path):
    """Explanation, validation and ladder are read from the folder."""
    from circuitkit.circuit import CircuitFolder

    circuit = example_circuit()
    circuit.save(tmp_path)
    example_validation(circuit).save(tmp_path)
    example_explanation(circuit).save(tmp_path)
    (tmp_path / "ladder.csv").write_text(LADDER)
    shown = page(Reported.of(CircuitFolder.open(tmp_path)))
    assert shown["explained"]
    assert shown["trust"]
    assert shown["ladder"]


def test_what_was_left_out_is_in_the_report(tmp_path):
    """As the record of the search has it; a record of another form has none."""
    example_circuit().save(tmp_path)
    assert CircuitFolder.open(tmp_path).remarks == ()
    remark = "2 of 60 pairs of the file cannot be used and are left out"
    (tmp_path / "pruning.json").write_text(json.dumps({"remarks": [remark]}))
    reported = Reported.of(CircuitFolder.open(tmp_path))
    assert ["pairs", remark] in made(reported.circuit, None, reported.remarks)
    (tmp_path / "pruning.json").write_text(json.dumps({"remarks": {"x": 1}}))
    assert CircuitFolder.open(tmp_path).remarks == ()
