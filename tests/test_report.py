"""The report: whole, the same bytes every time, and deaf to what strangers' strings say."""

from __future__ import annotations

import doctest
import json
import os
import re
import subprocess
import sys
from html import escape, unescape
from pathlib import Path

import pytest
from example_circuit import (
    empty_circuit,
    example_circuit,
    example_validation,
    finding,
    random_circuit,
    tiny_circuit,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import circuitkit
from circuitkit.circuit import Circuit
from circuitkit.errors import MismatchError, ReportError, UsageError
from circuitkit.findings import DEFAULT_CLAIMS, Claim, Validation
from circuitkit.views import report as module
from circuitkit.views import safe_text
from circuitkit.views.findings_section import methods
from circuitkit.views.heatmap import MAX_COLUMNS, heatmap, shown_positions
from circuitkit.views.report import typeset, write_report, write_reports
from circuitkit.views.report_data import page, summary_row
from circuitkit.views.reported import Reported
from circuitkit.views.rerun_command import commands
from circuitkit.views.safe_text import number, prose, token_text, token_texts
from circuitkit.views.search_section import made

IN_A_FOLDER = (
    *("circuit.dot", "circuit.json", "circuit.svg", "edges.csv", "findings.csv"),
    *("nodes.csv", "report.pdf", "validation.json"),
)

ODD = st.text(max_size=60) | st.sampled_from(
    [
        '"',
        "\\",
        "\n",
        "<b>",
        "#read",
        "]]#[[",
        "$x$",
        "🙂",
        "\x00",
        "*a* _b_",
        "`",
        "@x",
        "x" * 5000,
    ]
)


GALLERY = Path(__file__).parents[1] / "reports" / "gallery" / "tinypython-nano" / "for_while"


def test_a_folder_gets_everything_and_the_path_of_the_pdf(tmp_path):
    """A folder gets the nouns, the diagram, the tables and the PDF; nothing else is left in it."""
    circuit = example_circuit()
    path = write_report(tmp_path / "out", circuit, example_validation(circuit))
    assert path == tmp_path / "out" / "report.pdf"
    assert path.read_bytes().startswith(b"%PDF-")
    assert tuple(sorted(each.name for each in (tmp_path / "out").iterdir())) == IN_A_FOLDER
    assert Circuit.load(tmp_path / "out") == circuit
    assert Validation.load(tmp_path / "out") == example_validation(circuit)


def test_a_pdf_path_gets_the_pdf_alone(tmp_path):
    """A path that ends in .pdf is written, and nothing beside it."""
    path = write_report(str(tmp_path / "one.pdf"), tiny_circuit())
    assert [each.name for each in tmp_path.iterdir()] == [path.name] == ["one.pdf"]


def test_the_same_nouns_give_the_same_bytes():
    """Typesetting twice gives the same PDF, free of dates and machine paths."""
    circuit = example_circuit()
    first, second = (
        typeset([Reported(circuit=circuit, validation=example_validation(circuit))])
        for _ in range(2)
    )
    assert first == second
    assert str(Path(circuitkit.__file__).parents[1]).encode() not in first


def test_reporting_again_into_the_same_folder_changes_nothing(tmp_path):
    """A report is idempotent."""
    circuit = tiny_circuit()
    write_report(tmp_path / "out", circuit)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    write_report(tmp_path / "out", circuit)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(
    "circuit",
    [
        empty_circuit(),
        empty_circuit(surroundings=None),
        example_circuit(surroundings=None),
        example_circuit(outcome="target_missed", requested_target_loss_nats=0.1),
        random_circuit(170),
    ],
    ids=["collapsed", "collapsed and bare", "bare", "missed", "large"],
)
def test_every_outcome_can_be_typeset(circuit):
    """Collapsed, missed, large, and without surroundings: each has its report, validated or not."""
    assert typeset([Reported(circuit=circuit)]).startswith(b"%PDF-")
    assert typeset(
        [Reported(circuit=circuit, validation=example_validation(circuit, thorough=True))]
    ).startswith(b"%PDF-")


def test_a_miss_is_said_first():
    """An outcome other than target_met is a warning on top; a met target is none."""
    assert page(Reported(circuit=example_circuit()))["warning"] == ""
    assert (
        "Target missed"
        in page(Reported(circuit=example_circuit(outcome="target_missed")))["warning"]
    )
    assert "Collapsed" in page(Reported(circuit=empty_circuit()))["warning"]


def test_without_a_validation_nothing_is_claimed():
    """An unvalidated circuit has no verdict and no findings."""
    said = page(Reported(circuit=example_circuit()))
    assert (said["trust"], said["findings"], said["fooled"]) == (None, [], [])
    assert summary_row(example_circuit(), None)[-2:] == ["–", "not validated"]


def test_findings_say_effect_interval_and_threshold():
    """A finding that ran shows effect, interval and unit; one that did not shows its reason."""
    circuit = example_circuit()
    rows = {
        row["claim"]: row
        for row in page(Reported(circuit=circuit, validation=example_validation(circuit)))[
            "findings"
        ]
    }
    assert rows["sufficient"]["effect"] == "0.143 [0.131, 0.158] nats"
    assert rows["sufficient"]["counts"] == "512 / 41"
    assert rows["follows ood"]["effect"] == "–"
    assert rows["follows ood"]["note"] == "the task file has no ood forms"


def test_claims_fooled_by_the_same_thing_stand_together():
    """The small print names each trick once, with the claims it can fool, of those that ran."""
    circuit = example_circuit()
    ((claims, _),) = page(Reported(circuit=circuit, validation=example_validation(circuit)))[
        "fooled"
    ]
    assert "sufficient, faithful" in claims
    assert "follows ood" not in claims


def test_a_string_from_a_task_is_never_source():
    """A question written as Typst code appears as it stands, and reads no file."""
    question = '#read("/etc/passwd") #eval("1+1") $x^2$ *bold* @ref'
    circuit = example_circuit(around={"question": question})
    assert page(Reported(circuit=circuit))["title"] == question
    assert title_of(typeset([Reported(circuit=circuit)])) == question


def title_of(pdf: bytes) -> str:
    """The title in a PDF's metadata, which the template sets from the data it prints."""
    found = re.search(rb"<dc:title>.*?<rdf:li[^>]*>(.*?)</rdf:li>", pdf, re.DOTALL)
    assert found
    return unescape(found[1].decode())


def test_the_template_can_read_nothing_but_itself(tmp_path, monkeypatch):
    """Typst's root is the folder of the template: a path that leaves it is refused."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "report.typ").write_text('#read("../secret.txt")')
    monkeypatch.setattr(module, "shipped_folder", lambda name: tmp_path / name)
    with pytest.raises(ReportError, match="could not be typeset"):
        typeset([Reported(circuit=tiny_circuit())])


@pytest.mark.slow
@given(ODD, ODD, ODD, ODD)
@settings(max_examples=25, deadline=None)
def test_no_string_breaks_the_page(question, token, name, note):
    """Whatever the strings of a task hold, there is a PDF, and the same one twice."""
    circuit = tiny_circuit(surroundings=None)
    around = tiny_circuit().surroundings
    assert around
    a = around.a.model_copy(update={"tokens": (token, token, "x"), "answer": token})
    around = around.model_copy(update={"question": question, "source": note, "a": a})
    task = circuit.task.model_copy(update={"name": name})
    circuit = circuit.model_copy(update={"surroundings": around, "task": task})
    bad = finding(Claim.SUFFICIENT, ("fail", 0.5, 0.4, 0.6, name, note))
    validation = Validation(
        grade="F",
        weakest=Claim.SUFFICIENT,
        circuit_sha256=circuit.sha256,
        findings=(bad.model_copy(update={"note": note, "fooled_by": question}),),
    )
    reported = Reported(circuit=circuit, validation=validation)
    assert typeset([reported]) == typeset([reported])


def test_several_circuits_share_a_pdf_with_a_summary_in_front(tmp_path):
    """One row a circuit in front; a single circuit needs no summary."""
    first, second = example_circuit(), tiny_circuit()
    pairs = [(first, example_validation(first)), (second, None)]
    path = write_reports(tmp_path / "both.pdf", pairs)
    assert path.read_bytes() == typeset([Reported(circuit=c, validation=v) for c, v in pairs])
    row = summary_row(*pairs[0])
    assert row[:4] == ["bracket_counting", "tinypython-sparse", "29", "20"]
    assert row[-3:] == ["target met", "C", "minimal"]


def test_a_validation_of_another_circuit_is_refused(tmp_path):
    """A report binds a validation to its circuit by hash, and names both."""
    other = example_validation(tiny_circuit())
    with pytest.raises(MismatchError, match=other.circuit_sha256[:16]):
        write_report(tmp_path / "out", example_circuit(), other)
    assert not (tmp_path / "out").exists()


def test_nothing_to_report_is_refused(tmp_path):
    """A report of no circuit is an error, not an empty page."""
    with pytest.raises(ReportError, match="got no circuit"):
        write_reports(tmp_path / "none.pdf", [])


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    """A report is not spilt into a folder that holds other files."""
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        write_report(tmp_path, tiny_circuit())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_refused(tmp_path):
    """A folder cannot be made where a file is."""
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UsageError, match="is a file"):
        write_report(tmp_path / "out", tiny_circuit())


def test_the_heat_map_is_white_at_the_mean():
    """A cell is the distance from the mean as a share of the node's largest; the mean is zero."""
    circuit = tiny_circuit()
    around = circuit.surroundings
    assert around
    name = "0.mlp.act_in:1"
    a = around.a.model_copy(update={"activations": {name: (0.5, 2.5, 0.0)}})
    b = around.b.model_copy(update={"activations": {name: (0.5, 0.5, 0.5)}})
    means = {name: 0.5}
    around = around.model_copy(update={"a": a, "b": b, "means": means})
    shown = heatmap(circuit.model_copy(update={"surroundings": around}))
    assert shown
    row = shown["rows"][0]
    assert row["cells"] == [[0.0, 1.0, -0.25], [0.0, 0.0, 0.0]]
    assert (row["mean"], row["widest"]) == ("0.500", "2.000")
    assert shown["rows"][1]["cells"] == [[0.0] * 3] * 2


def test_long_prompts_keep_their_cue_and_their_end():
    """A prompt longer than the map shows its cue with its neighbours, and its last tokens."""
    tokens = tuple(map(str, range(100)))
    around = {"tokens_a": tokens, "tokens_b": (*tokens[:10], "cue", *tokens[11:])}
    sides = example_circuit(around=around).surroundings
    assert sides
    places = shown_positions(sides.a, sides.b)
    assert places[:3] == (9, 10, 11)
    assert places[3:] == tuple(range(100 - MAX_COLUMNS + 3, 100))


def test_tables_are_cut_and_say_so():
    """Past sixty rows a table says how many more are in its CSV."""
    nodes, edges = page(Reported(circuit=random_circuit(70)))["tables"]
    assert (len(nodes["rows"]), nodes["n_hidden"], nodes["file"]) == (60, 10, "nodes.csv")
    assert (len(edges["rows"]), edges["n_hidden"], edges["file"]) == (60, 17, "edges.csv")
    weights = [abs(float(row[2].replace("\N{MINUS SIGN}", "-"))) for row in edges["rows"]]
    assert weights == sorted(weights, reverse=True)


def test_the_commands_make_the_report_again():
    """The report says what to type; a name that a shell would act on is quoted."""
    circuit = example_circuit()
    task = circuit.task.model_copy(update={"name": "a; rm -rf ~"})
    *notes, extract, last = commands(circuit.model_copy(update={"task": task}), None)
    assert all(note.startswith("# ") for note in notes)
    assert extract == (
        "circuitkit extract tinypython-sparse --task 'a; rm -rf ~' --target-loss 0.15 "
        "--ablation mean --granularity node --seed 0 --out DIR"
    )
    assert last == "circuitkit report DIR"
    raised = example_circuit(requested_target_loss_nats=0.15, target_loss_nats=0.3)
    assert "--target-loss" not in "".join(commands(raised, None))
    assert ["target loss", "0.300, raised from 0.150 nats"] in made(raised, None)


def test_tokens_are_shown_as_escapes():
    """Every token is ASCII but for the sign of a space, and what is invisible is seen."""
    assert token_text(" a\n\t'") == "'␣a\\n\\t\\''"
    assert token_text("🙂é") == "'\\U0001f642\\xe9'"
    assert token_text("x" * 99, 4) == "'xxx…'"


@given(st.text())
def test_prose_is_a_line_that_the_fonts_can_set(words):
    """No control character, line break or bidirectional override survives."""
    assert prose(words).isprintable()
    assert len(prose(words, 10)) <= 10


def test_numbers_are_set_as_in_a_paper():
    """Three digits, a true minus, no negative zero, a dash for what is missing."""
    shown = [number(value) for value in (-0.5, -0.0001, None, float("nan"), 123456.0)]
    assert shown == ["\N{MINUS SIGN}0.500", "0.000", "–", "–", "1.23e+05"]


def test_the_examples_of_the_docstrings_run():
    """What the docstrings of ``text`` show is what happens."""
    assert doctest.testmod(safe_text).failed == 0


def test_views_never_import_torch():
    """A report can be drawn where torch is not installed."""
    names = [path.stem for path in Path(module.__file__).parent.glob("*.py")]
    wanted = ", ".join(f"circuitkit.views.{name}" for name in names if name != "__init__")
    program = f"import sys, {wanted}; sys.exit('torch' in sys.modules)"
    root = str(Path(circuitkit.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", program], env=environment, check=False)
    assert done.returncode == 0


def test_what_the_ranges_call_settable_the_fonts_have():
    """Every character that prose lets through has a glyph in a title, a cell and a picture."""
    import typst

    settable = "".join(
        c
        for low, high in safe_text.SETTABLE
        for c in map(chr, range(low, high + 1))
        if prose(c) == c
    )
    assert len(settable) > 2500
    folder = module.shipped_folder("templates")
    template = (folder / "report.typ").read_text()
    template = template.replace("date: none", "date: auto").encode()

    def set_in_type(words: str) -> bytes:
        data = module.report_data([Reported(circuit=tiny_circuit())])
        texts = "".join(f'<text font-family="DejaVu Sans Mono">{escape(c)}</text>' for c in words)
        svg = f'<svg width="9pt" height="9pt" xmlns="http://www.w3.org/2000/svg">{texts}</svg>'
        (shown,) = data["pages"]  # pyright: ignore[reportGeneralTypeIssues]
        shown |= {"title": words, "source": words, "made": [["name", words]], "commands": [words]}
        shown["figure"] |= {"svg": svg}
        options = {"ignore_system_fonts": True, "pdf_standards": "a-2b", "timestamp": 0}
        options |= {"root": folder}
        inputs = {"report": json.dumps(data)}
        return typst.compile(template, sys_inputs=inputs, **options)

    assert set_in_type(settable).startswith(b"%PDF-")
    with pytest.raises(typst.TypstError, match="could not be displayed"):
        set_in_type("\N{CJK UNIFIED IDEOGRAPH-4E2D}")


@pytest.mark.parametrize(
    "question",
    ["Ставит ли модель «кавычки» после слова „и“?", "Ποια αγκύλη;", "Đặt dấu ngoặc kép?", "Հարց"],
)
def test_a_question_in_another_alphabet_is_shown_as_it_is_written(question):
    """Where the fonts have its letters, and to its end."""
    assert prose(question * 4) == question * 4


@pytest.mark.parametrize("shown", [prose, token_text], ids=["prose", "a token"])
@pytest.mark.parametrize("limit", range(2, 40))
def test_an_escape_is_never_cut_in_two(shown, limit):
    """A text that is too long ends in whole escapes and an ellipsis, and fits its limit."""
    cut = shown("中🙂\x00a\u202e" * 9, limit=limit)
    inside = cut.removeprefix("'").removesuffix("'")
    assert re.fullmatch(r"(a|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|\\x[0-9a-f]{2})*…", inside)
    assert len(inside) <= limit


def test_tokens_that_begin_alike_are_told_apart():
    """No two different tokens of one picture are shown as the same literal."""
    long = ["x" * 40 + end for end in "ab"] + ["y", "x" * 15, "x" * 41]
    shown = token_texts(long)
    assert len(set(shown.values())) == len(long)
    assert shown["y"] == "'y'"


def test_the_page_that_defines_the_thresholds_is_named_once():
    """Every claim has its own heading there; the report names the page."""
    validation = Validation.load(GALLERY)
    findings = tuple(f for f in validation.findings if f.claim in DEFAULT_CLAIMS)
    assert {f.threshold_source for f in findings} > {"docs/validation.md#sufficient"}
    said = methods(validation.model_copy(update={"findings": findings}))
    assert said.count("docs/validation.md") == 1
    assert "#" not in said
