"""Page one: how the circuit answers, in lines that add up, and how far to trust it, on one page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_circuit import example_circuit, example_validation, finding, random_circuit
from example_explanation import (
    CONSTANT,
    LOOK,
    STRAIGHT,
    THROUGH_NEURONS,
    THROUGH_THE_HEAD,
    adds,
    example,
    example_explanation,
    note,
    run,
    source,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitkit.circuit import Circuit
from circuitkit.circuit.explanation import MOST_NODES, Explanation, Hop, Look, TokenPath
from circuitkit.errors import MismatchError
from circuitkit.files import shipped_folder
from circuitkit.findings import DEFAULT_CLAIMS, Claim, Validation
from circuitkit.views.findings_section import GRADES
from circuitkit.views.mechanism_section import mechanism
from circuitkit.views.report import typeset, write_report
from circuitkit.views.report_data import page, too_large
from circuitkit.views.reported import Reported
from circuitkit.views.trust_section import _F, CLAIMS, SCALE, claim_words, trust

GALLERY = [
    path.parent
    for path in sorted((Path(__file__).parents[1] / "reports").glob("gallery/*/*/validation.json"))
]

ODD = st.text(max_size=60) | st.sampled_from(
    [
        *('"', "'", "\\", "\n", "</script>", '#import "x"', "=cmd()", "\u202eabc", "\u200f", "🙂"),
        *("\x00", '#read("/etc/passwd")', "$x$", "]#[", "@x", "`", "x" * 500, "漢字"),
    ]
)


def minus(text: str) -> float:
    """The value of a number as the report prints it."""
    return float(text.replace("\N{MINUS SIGN}", "-"))


def lines(**changes) -> list[dict]:
    """The rows of the mechanism of the example."""
    return mechanism(example_explanation(example_circuit(), **changes))["rows"]


def test_a_line_follows_its_path_from_token_to_answer():
    """Where the head looks, through which channels, for which answer, and what it adds."""
    first, second, third, *_ = lines()
    assert " → ".join(first["steps"]) == (
        "token '␣[[' in a → head 1.5 (looks from '␣2' at it, 0.83 of its attention in a) → "
        "channels 12, 40 → ']]' over ']'"
    )
    assert (first["adds"], first["push"]) == (["+1.50", "+0.10"], "a")
    assert second["steps"] == [
        "token '␣[[' in a and '␣[' in b", "neurons 0 (neuron 212)", "channel 9", "']' over ']]'",
    ]  # fmt: skip
    assert third["steps"][0] == "token '␣2'"
    assert third["steps"][-1] == "the right answer in both"


def test_a_head_that_looks_elsewhere_says_where():
    """A hop whose head does not look at the path's own token names the token it looks at."""
    look = LOOK.model_copy(update={"looks_at": 3})
    hop = Hop(part="head 1.5", nodes=(), looks=(look,))
    (first, *_) = lines(paths=(THROUGH_THE_HEAD.model_copy(update={"hops": (hop,)}),))
    assert first["steps"][1] == "head 1.5 (looks from '␣2' at '3', 0.83 of its attention in a)"


def test_a_head_says_where_it_looks_in_both_prompts():
    """Once where it is the same; with each prompt's share of its attention."""
    same = Look(prompt="b", at=9, looks_at=2, attention=0.7)
    hop = Hop(part="head 1.5", nodes=(), looks=(LOOK, same))
    path = THROUGH_THE_HEAD.model_copy(update={"hops": (hop,)})
    assert lines(paths=(path,))[0]["steps"][1] == (
        "head 1.5 (looks from '␣2' at it, 0.83 of its attention in a and 0.70 in b)"
    )
    other = hop.model_copy(update={"looks": (LOOK, same.model_copy(update={"looks_at": 1}))})
    path = THROUGH_THE_HEAD.model_copy(update={"hops": (other,)})
    assert lines(paths=(path,))[0]["steps"][1].endswith(
        "0.83 of its attention in a; from '␣2' at '␣=', 0.70 of its attention in b)"
    )


@pytest.mark.parametrize(("in_b", "is_said"), [(0.1, True), (1.0, False)])
def test_what_gates_a_token_that_both_prompts_share_is_said(in_b, is_said):
    """Where it adds in one prompt alone: what the neurons are at the last token of each."""
    (neuron,) = THROUGH_NEURONS.hops[0].nodes
    shown = example(example_circuit())
    runs = {
        side: run.model_copy(update={"activations": {**run.activations, neuron: (0.5, value)}})
        for side, run, value in (("a", shown.a, 1.25), ("b", shown.b, 0.0))
    }
    path = STRAIGHT.model_copy(update={"hops": THROUGH_NEURONS.hops, "adds": adds(2.0, in_b)})
    said = lines(paths=(path,), **runs)[0]["steps"][1]
    assert said == "neurons 0 (neuron 212)" + ", where 212 is 1.25 in a and 0.00 in b" * is_said


def test_the_lines_add_up_to_the_logit_difference():
    """Paths, what does not depend on the tokens, and the rest: in a and in b."""
    found = mechanism(example_explanation(example_circuit()))
    for side in (0, 1):
        total = sum(minus(row["adds"][side]) for row in found["rows"])
        assert total == pytest.approx(minus(found["sum"][side]), abs=0.05)


def test_there_are_at_most_five_paths_and_the_others_are_the_rest():
    """Weaker paths are summed in one line, which says how many they are."""
    circuit = example_circuit()
    many = tuple(STRAIGHT.model_copy(update={"adds": adds(0.2, 0.2)}) for _ in range(9))
    rows = mechanism(example_explanation(circuit, paths=many))["rows"]
    assert len([row for row in rows if row["push"] != "none"]) == 5
    assert rows[-1]["steps"] == ["The rest: 4 weaker paths, and what no path explains"]
    assert rows[-1]["adds"] == ["+0.90", "+0.90"]


def test_a_path_that_adds_next_to_nothing_is_no_line():
    """It goes into the rest."""
    weak = STRAIGHT.model_copy(update={"adds": adds(0.001, 0.001)})
    rows = lines(paths=(THROUGH_THE_HEAD, weak))
    assert [row["push"] for row in rows] == ["a", "none", "none"]


def test_a_path_too_slight_for_a_line_is_in_the_rest():
    """Wherever it stands: each path counts once, and the lines add up to the logit difference."""
    explanation = example_explanation(example_circuit())
    first, *others = explanation.examples[0].paths
    slight = first.model_copy(update={"adds": adds(0.004, 0.004)})
    example = explanation.examples[0].model_copy(update={"paths": (first, slight, *others)})
    rows = mechanism(explanation.model_copy(update={"examples": (example,)}))["rows"]
    assert len(rows) == 2 + 1 + len(others)
    shown = [float(row["adds"][0].replace("\N{MINUS SIGN}", "-")) for row in rows]
    parts = [path.adds.a for path in (first, slight, *others)]
    listed = sum(parts) + example.constant.a + example.rest.a
    assert sum(shown) == pytest.approx(listed, abs=0.03)


def test_it_is_said_how_much_the_lines_explain():
    """How far they are off, as a share of the mean logit difference, and with the constant."""
    said = mechanism(example_explanation(example_circuit()))["said"]
    assert said == (
        "The first 3 lines add up to +1.95 nats, of 2.10 nats of logit difference (means of a and "
        "b): 7 % off, 5 % with what comes from no token."
    )


def test_without_paths_nothing_is_said_to_be_explained():
    """No line, and the report says so."""
    found = mechanism(example_explanation(example_circuit(), paths=()))
    assert "explain nothing" in found["said"]
    assert [row["push"] for row in found["rows"]] == ["none", "none"]


def test_constant_nodes_are_one_line():
    """With their number, and the answer that they favour."""
    (row,) = (row for row in lines() if row["steps"][0].startswith("From no token"))
    assert f"{len(CONSTANT)} nodes are the same in both" in row["steps"][0]
    assert row["steps"][1] == "']' over ']]'"


def test_every_claim_has_words_for_a_pass_and_a_failure():
    """No claim of the suite is named by its identifier alone."""
    assert set(CLAIMS) == {str(claim) for claim in Claim}
    assert all(passed != failed for passed, failed in CLAIMS.values())


def test_the_grade_stands_with_its_meaning_and_its_weakest_finding():
    """In words: its meaning, what fails, what is open; then the weakest with its number."""
    said = trust(example_validation(example_circuit(), "C-redundant"))
    assert said["passes"] is False
    assert said["grade_words"].startswith(
        f"Grade C-redundant ({SCALE}): {GRADES['C-redundant']}. Also shown"
    )
    assert "But: some nodes do not matter." in said["grade_words"]
    assert "Not shown: it follows the model out of distribution" in said["grade_words"]
    assert said["weakest_words"] == (
        "Weakest finding, minimal: some nodes do not matter (0.710 [0.660, 0.760] fraction; 7 of "
        "24 nodes are passengers: 0.attn.act_in:54, 0.attn.v:37 and 5 more; passes when ≥ 0.80 of "
        "nodes significant)."
    )


def test_what_was_not_tested_is_said_with_its_reason():
    """A weakest finding that was not run has no number."""
    circuit = example_circuit()
    found = example_validation(circuit, "B").model_copy(update={"weakest": Claim.FOLLOWS_OOD})
    assert trust(found)["weakest_words"] == (
        "Weakest finding, follows ood: not tested; the task file has no ood forms."
    )
    open_ = finding(Claim.GENERALISES, ("inconclusive", 0.1, 0.0, 0.2, "nats", ""))
    found = Validation(grade="C", weakest=Claim.GENERALISES, circuit_sha256="x", findings=(open_,))
    assert "it is not settled that it holds on new templates" in trust(found)["weakest_words"]


def test_a_grade_b_without_the_thorough_suite_says_so():
    """No claim that passes is called the weakest."""
    circuit = example_circuit()
    found = example_validation(circuit, "B")
    passed = tuple(f.model_copy(update={"outcome": "pass"}) for f in found.findings)
    short = tuple(f for f in passed if f.claim in DEFAULT_CLAIMS)
    said = trust(found.model_copy(update={"findings": short}))["weakest_words"]
    assert said == "No finding speaks against it; the thorough suite was not run."


def test_a_claim_that_was_added_is_named():
    """One that the suite does not know is spelt as words."""
    added = finding(Claim.MINIMAL, ("pass", 1.0, None, None, "", "")).model_copy(
        update={"claim": "added_later"}
    )
    assert claim_words(added) == "added later"


FAILURES = {
    "ANTI-CHANCE: x; mean: accuracy 0.1": "without it the model prefers the wrong answer",
    "REDUNDANT: x; mean: accuracy 0.9": "the model does the task without it",
    "mean: accuracy 0.600, Nec 0.5": "without it the model keeps part of its ability",
}


@pytest.mark.parametrize(("said", "words"), FAILURES.items())
def test_what_is_not_necessary_is_said_as_it_was_measured(said, words):
    """A model that prefers the wrong answer without the circuit does not do the task without it."""
    found = finding(Claim.NECESSARY, ("fail", 0.1, 0.05, 0.2, "", "interval inside [0.35, 0.65]"))
    assert claim_words(found.model_copy(update={"note": said})) == words


@pytest.mark.parametrize(
    ("low", "said", "words"),
    [
        (0.01, "F = 1.240 [1.150, 1.310]", "it does better than its model"),
        (0.01, "F = 0.600 [0.550, 0.650]", "it does not do the task alone"),
        (0.01, "F = -0.600 [-0.750, -0.450]", "it does not do the task alone"),
        (0.30, "F = 1.240 [1.150, 1.310]", "it does not do the task alone"),
        (
            0.01,
            "near alone misses the target; F = 1.2 [1, 1]",
            "it does not do the task alone",
        ),
    ],
)
def test_what_is_not_sufficient_is_said_as_it_was_measured(low, said, words):
    """A circuit that fails by nothing but a large F does better than its model."""
    limits = "upper bound ≤ 0.200 nats, no form's lower bound above, F in [0.70, 1.10]"
    found = finding(Claim.SUFFICIENT, ("fail", low, low, low, "nats", limits))
    assert claim_words(found.model_copy(update={"note": said})) == words


@pytest.mark.parametrize("folder", GALLERY, ids=lambda folder: folder.name)
def test_the_note_of_sufficient_begins_as_it_is_read(folder):
    """In every validation of the gallery; but where a form misses the target, that comes first."""
    found = Validation.load(folder)["sufficient"]
    is_named = " alone misses the target: " in found.note
    assert _F.match(found.note) or is_named or found.outcome == "not_run"


@pytest.mark.parametrize(
    ("low", "words"),
    [(0.30, "other tasks need it too"), (0.05, "its own task needs it too little")],
)
def test_what_is_not_specific_is_said_as_it_was_measured(low, words):
    """It harms other tasks, or harms its own too little."""
    limits = "upper bound ≤ 0.2, its own task at least 0.8"
    assert claim_words(finding(Claim.SPECIFIC, ("fail", low, low, low, "", limits))) == words


def n_pages(reported: Reported) -> int:
    """How many pages page one takes when nothing follows it."""
    import typst

    code = (
        '#import "base.typ": paper\n#import "page_one.typ": page-one\n#show: paper\n'
        "#page-one(json(bytes(sys.inputs.page)))"
    )
    inputs = {"page": json.dumps(page(reported))}
    options = {"root": shipped_folder("templates"), "ignore_system_fonts": True}
    pages = typst.compile(code.encode(), format="svg", sys_inputs=inputs, **options)
    return len(pages) if isinstance(pages, list) else 1


def crowded(n_nodes: int) -> tuple[Circuit, Explanation]:
    """A circuit whose question, prompts, paths and notes are as long as they get."""
    tokens = tuple(f"token_{i:02d}" for i in range(60))
    around = {"question": "Is this a very long question? " * 9, "source": "a source " * 12}
    circuit = random_circuit(n_nodes, around={**around, "tokens_a": tokens, "tokens_b": tokens})
    look = LOOK.model_copy(update={"at": 59, "looks_at": 50})
    hops = tuple(Hop(part=f"head 1.{i}", nodes=(), looks=(look,)) for i in range(3))
    path = TokenPath(source=source("token_02 and more", "token_02"), hops=hops,
                     channels=("final_resid:1234",) * 5, adds=adds(1, 0.2))  # fmt: skip
    links = {f"{e.source}>{e.target}": adds(1, 0.2) for e in circuit.edges}
    return circuit, example_explanation(circuit, paths=(path,) * 5, links=links)


@pytest.mark.parametrize("n_nodes", [10, 40, 60, 150])
def test_page_one_is_one_page(n_nodes):
    """However long its strings are: the picture takes the room that is left."""
    circuit, explanation = crowded(n_nodes)
    validation = example_validation(circuit, thorough=True)
    reported = Reported(circuit=circuit, validation=validation, explanation=explanation)
    assert n_pages(reported) == 1


def test_the_count_of_pages_would_notice():
    """A planted failure: a page with two pages of prompts is more than one."""
    circuit, explanation = crowded(10)
    reported = Reported(circuit=circuit, explanation=explanation)
    data = page(reported)
    data["pair"] = data["pair"] * 20
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "page", lambda _: data)
        assert n_pages(reported) > 1


def test_without_an_explanation_the_report_says_how_to_get_one(tmp_path):
    """It falls back to the full diagram, the pair and the findings."""
    circuit = example_circuit()
    shown = page(Reported(circuit=circuit))
    assert shown["explained"] is None
    assert shown["pair"]
    template = (shipped_folder("templates") / "page_one.typ").read_text()
    assert '#mono("circuitkit validate DIR") writes it' in template
    assert shown["too_large"] == ""
    path = write_report(tmp_path / "out", circuit)
    assert not (path.parent / "paths.svg").exists()


@pytest.mark.parametrize(("more", "is_said"), [(0, False), (1, True)])
def test_a_circuit_too_large_to_be_explained_says_so(more, is_said):
    """The report and its documentation name the limit."""
    circuit = random_circuit(MOST_NODES + more)
    said = f"Circuits of more than {MOST_NODES} nodes are not explained"
    assert too_large(circuit) == (f"{said}." if is_said else "")
    assert said in (Path(__file__).parents[1] / "docs" / "reports.md").read_text()
    assert typeset([Reported(circuit=circuit)]).startswith(b"%PDF-")


def test_an_explanation_without_examples_is_as_none():
    """There is no pair to show the mechanism on."""
    circuit = example_circuit()
    explanation = example_explanation(circuit).model_copy(update={"examples": ()})
    reported = Reported(circuit=circuit, explanation=explanation)
    assert page(reported)["explained"] is None
    assert typeset([reported]).startswith(b"%PDF-")


def test_a_folder_with_an_explanation_gets_the_stripped_diagram(tmp_path):
    """And its report holds it; reporting from the folder gives the same bytes."""
    circuit = example_circuit()
    out = tmp_path / "out"
    path = write_report(out, circuit, explanation=example_explanation(circuit))
    first = path.read_bytes()
    assert (out / "paths.svg").read_text().startswith("<?xml")
    assert Explanation.load(out) == example_explanation(circuit)
    assert write_report(out).read_bytes() == first


def test_an_explanation_of_another_circuit_is_refused(tmp_path):
    """A report binds an explanation to its circuit by hash, and names both."""
    other = example_explanation(example_circuit(seed=1))
    with pytest.raises(
        MismatchError, match=f"the explanation is of circuit {other.circuit_sha256[:16]}"
    ):
        write_report(tmp_path / "out", example_circuit(), explanation=other)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@given(ODD, ODD, ODD, ODD)
@settings(max_examples=20, deadline=None)
def test_no_string_of_an_explanation_breaks_the_report(cue, answer, part, template):
    """Tokens, answers, parts, templates and contexts are set as data: the same PDF twice."""
    circuit = example_circuit()
    around = circuit.surroundings
    assert around
    tokens = (*around.a.tokens[:2], cue, *around.a.tokens[3:])
    a = run(around.a.model_copy(update={"tokens": tokens, "answer": answer}))
    a = a.model_copy(update={"attention": {part: (0.5,)}})
    hop = Hop(part=part, nodes=(template,), looks=(LOOK,))
    path = TokenPath(source=source(cue, answer), hops=(hop,), channels=(part,), adds=adds(1, 0))
    explanation = example_explanation(circuit, a=a, paths=(path,), template=template)
    contexts = note().highest[0].model_copy(update={"tokens": (cue, answer, part)})
    notes = dict.fromkeys(explanation.nodes, note(highest=(contexts,), lowest=(contexts,)))
    explanation = explanation.model_copy(update={"nodes": notes})
    reported = Reported(circuit=circuit, explanation=explanation)
    assert typeset([reported]) == typeset([reported])


def test_tokens_that_the_fonts_lack_are_shown_as_escapes():
    """In the picture, the lines and the prompts: nothing is set that has no glyph."""
    import typst

    circuit = example_circuit()
    around = circuit.surroundings
    assert around
    tokens = (*around.a.tokens[:2], "漢🙂", *around.a.tokens[3:])
    a = run(around.a.model_copy(update={"tokens": tokens}))
    path = THROUGH_THE_HEAD.model_copy(update={"source": source("漢🙂", " [")})
    explanation = example_explanation(circuit, a=a, paths=(path,))
    data = page(Reported(circuit=circuit, explanation=explanation))
    assert r"'\u6f22\U0001f642'" in data["explained"]["mechanism"]["rows"][0]["steps"][0]
    assert data["pair"][0]["tokens"][2]["text"] == r"'\u6f22\U0001f642'"
    folder = shipped_folder("templates")
    code = (folder / "report.typ").read_text().replace("date: none", "date: auto")
    inputs = {"report": json.dumps({"pages": [data], "summary": [], "terms": [["a", "b"]]})}
    options = {"ignore_system_fonts": True, "pdf_standards": "a-2b", "timestamp": 0}
    options |= {"root": folder}
    pdf = typst.compile(code.encode(), sys_inputs=inputs, **options)
    assert pdf.startswith(b"%PDF-")
