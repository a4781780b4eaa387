"""Laws of docs/validation.md: every claim and grade is there, with the code's thresholds."""

import re
from math import log
from pathlib import Path

import pytest
from test_readme import test_commands_and_their_options_exist as command_exists

from circuitkit.circuit import Circuit
from circuitkit.families.name_mechanisms import F_DOES
from circuitkit.findings import DEFAULT_CLAIMS, WHERE_BRIDGED, Claim, Validation
from circuitkit.statistics import intervals
from circuitkit.statistics.decision import MIN_CLUSTERS
from circuitkit.validation import ablations, leave_one_out, outweighing, redundant_inside, trial
from circuitkit.validation.claims import (
    adversarial_restore,
    beats_controls,
    claims_of,
    competent,
    complete,
    faithful,
    follows_ood,
    generalises,
    independence,
    integrity,
    interchange,
    minimal,
    necessary,
    no_norm_leak,
    resample_independent,
    robust_to_ablation,
    roles,
    search_null,
    specific,
    stable,
    stands_alone,
    stochastic_restore,
    sufficient,
    worst_case,
)
from circuitkit.validation.controls import same_question, same_size
from circuitkit.validation.verdict import LUCK, MIN_SIZE_RATIO
from circuitkit.views.findings_section import GRADES

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
RUNS = (ROOT / "docs" / "thorough-runs.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```([^\n]*)\n(.*?)^```$", TEXT + RUNS, re.MULTILINE | re.DOTALL)
COMMANDS = [line for info, text in BLOCKS if not info for line in text.splitlines()]
COMMANDS += re.findall(r"`(circuitkit [^`]+|python [^`]+)`", TEXT)
SECTIONS = dict(re.findall(r"^##+ ([^\n]+)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))
CLAIMS = re.findall(r"^### (.+)$", TEXT, re.MULTILINE)
MEASURED = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", RUNS, re.MULTILINE))
HALFWAY = log(2) / 2


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_exists(line):
    """With its options."""
    command_exists(line)


def test_every_claim_has_its_heading():
    """Once, in the order of the suite, the thorough ones after those of the default suite."""
    assert [str(claim) for claim in Claim] == CLAIMS
    default, thorough = TEXT.split("\n## Thorough claims\n")
    assert [c for c in CLAIMS if f"\n### {c}\n" in default] == [str(c) for c in DEFAULT_CLAIMS]
    assert all(f"\n### {claim}\n" in thorough for claim in claims_of("thorough"))


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_says_what_can_fool_it(claim):
    """And when it passes."""
    assert "What can fool it: " in SECTIONS[claim]
    assert len(SECTIONS[claim].split()) > 30


def test_the_run_has_every_thorough_claim():
    """Also those that failed, each with the outcome that is in the gallery.

    A claim that is newer than the run is said to be; the nano has no bridges.
    """
    folder = ROOT / "reports" / "gallery" / "tinypython-nano" / "if_equals"
    found = Validation.load(folder)
    asked = {finding.claim for finding in found.findings}
    assert list(MEASURED) == [claim for claim in claims_of("thorough") if claim in asked]
    newer = " and ".join(f"`{claim}`" for claim in Claim if claim not in asked | WHERE_BRIDGED)
    assert not newer or f"ran before {newer} existed" in RUNS
    for claim, row in MEASURED.items():
        assert row.partition(" | ")[0].strip("*") == found[claim].outcome.replace("_", " ")
    circuit = Circuit.load(folder)
    assert f"{circuit.n_nodes} nodes, {circuit.n_edges} edges." in RUNS
    assert f"Grade {found.grade}, weakest finding `{found.weakest}`" in RUNS


def test_what_smallest_circuits_miss_is_what_the_table_shows():
    """The medians in the text are those of the rows in docs/results.md, by model and rung."""
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    table = results.partition("\n## The ladder\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()]
    found = {row[0]: row for row in rows if len(row) == 8 and "," in row[0]}
    text = SECTIONS["Smallest circuits do not decide"]
    for rung in ("smallest", "trusted"):
        nano, sparse = (found[f"tinypython-{model}, {rung}"] for model in ("nano", "sparse"))
        f_x, follows = ([row[i].split(" (")[0] for row in (nano, sparse)] for i in (4, 5))
        assert f"$F_x$ of {f_x[0]} and {f_x[1]}" in text
        assert f"on {follows[0]} and {follows[1]} of the prompts" in text
        n, of = (sum(int(row[6].split(" of ")[i]) for row in (nano, sparse)) for i in (0, 1))
        assert f"{n} of {of} decide" in text
    small = [found[f"tinypython-{model}, smallest"][3] for model in ("nano", "sparse")]
    assert f"$F$ of {small[0]} (nano) and {small[1]} (sparse) with" in text
    prices = re.findall(r"geometric mean ([\d.]+) ×", results)
    assert f"They have {prices[0]} and {prices[1]} times the edges" in text


def test_every_grade_has_its_row():
    """And the conditions are the code's."""
    assert re.findall(r"^\| ([A-F](?:-redundant)?) \|", TEXT, re.MULTILINE) == list(GRADES)
    assert f"Fewer than {MIN_CLUSTERS} templates" in SECTIONS["Grades"]
    assert f"at least {MIN_SIZE_RATIO:.0f} times the edges" in SECTIONS["Grades"]
    assert f"is above {LUCK}, random circuits" in SECTIONS["Grades"]


def test_every_kind_of_ablation_has_its_row():
    """In the order of the code."""
    rows = re.findall(r"^\| `(\w+)` \|", SECTIONS["Ablations"], re.MULTILINE)
    assert rows == list(ablations.KINDS)
    assert f"from {trial._POOL_SEQUENCES} sequences" in SECTIONS["Ablations"]
    assert f"of {trial._FEW} training pairs" in SECTIONS["Ablations"]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("Statistics", f"two-sided {intervals.LEVEL:.0%}".replace("%", " %")),
        ("Statistics", f"{intervals.N_RESAMPLES:,} resamples"),
        ("Statistics", "Fewer than five templates"),
        ("integrity", f"at most {integrity.COMPILED_LOGITS:.0e}".replace("e-04", "e-4")),
        (
            "integrity",
            f"within {integrity.STORED_NATS} nats or a share of {integrity.STORED_SHARE}",
        ),
        ("integrity", f"by at most {integrity.HALVES_NATS} nats"),
        ("competent", f"at least {competent.ACCURACY:.2f}"),
        ("sufficient", f"target + {sufficient.ABOVE_TARGET_NATS}"),
        ("sufficient", f"[{sufficient.F_LOW:.2f}, {sufficient.F_HIGH:.2f}]"),
        ("faithful", f"at least {faithful.AGREEMENT:.2f}"),
        ("necessary", f"[{necessary.CHANCE[0]}, {necessary.CHANCE[1]}]"),
        ("necessary", f"at least {necessary.NECESSITY} (lower bound)"),
        ("beats_controls", f"at most {beats_controls.P}; above {LUCK} it fails"),
        ("beats_controls", f"Up to {beats_controls.N_DRAWS} draws"),
        ("beats_controls", f"at least {beats_controls.BETTER_NATS:.2f} nats above"),
        ("beats_controls", f"less than {beats_controls.ENOUGH:.0%}".replace("%", " %")),
        ("interchange", f"at least {interchange.F_LOW:.2f} (lower bound)"),
        ("interchange", f"at least {interchange.FOLLOWS:.2f} of the prompts"),
        ("interchange", f"target + {sufficient.ABOVE_TARGET_NATS}"),
        ("interchange", f"Up to {redundant_inside._MOST} nodes"),
        ("interchange", f"({outweighing._RANKED_ON} pairs)"),
        ("robust_to_ablation", f"at least {robust_to_ablation.KEEPS_SIGN:.2f}"),
        ("robust_to_ablation", f"share of {robust_to_ablation.N_DRAWS} draws"),
        ("stands_alone", f"at least {stands_alone.F_LOW:.2f}"),
        ("one_mechanism", f"at least {F_DOES:.2f} on every family"),
        ("stochastic_restore", f"target + {stochastic_restore.ABOVE_TARGET_NATS}"),
        ("stochastic_restore", "0.1, 0.25, 0.5, 0.75 or 0.9"),
        ("no_norm_leak", f"at least {no_norm_leak.F_LOW:.2f}"),
        ("no_norm_leak", f"at most {no_norm_leak.GAIN:.0f}"),
        ("minimal", f"at least {minimal.SHARE} of the nodes"),
        ("minimal", f"{leave_one_out.MOST_NODES} drawn at random"),
        ("generalises", f"at most {generalises.GAP_NATS:.2f} nats"),
        ("generalises", f"at least {generalises.SHARE:.0%} of the test".replace("%", " %")),
        ("generalises", f"= {HALFWAY:.3f}"),
        ("follows_ood", f"at least {follows_ood.AGREEMENT:.2f}"),
        ("follows_ood", f"at most {follows_ood.APART:.2f}"),
        ("search_null", f"{search_null.N_DRAWS} draws"),
        ("search_null", f"p ≤ {search_null.P}"),
        ("search_null", f"grade A needs {MIN_SIZE_RATIO:.0f}"),
        ("complete", f"at most {complete.MEAN_GAP} and the worst at most {complete.WORST_GAP}"),
        ("complete", f"(up to {complete.N_SINGLES}), {complete.N_SUBSETS} random halves"),
        ("roles", rf"\ge {roles.EXPLAINED}"),
        ("roles", f"at least {roles.CORRELATION}"),
        ("specific", f"at least {necessary.NECESSITY} (lower bound)"),
        ("specific", f"at most {specific.TYPICAL_HARM} (upper bound)"),
        ("stable", f"at least {stable.AGREEMENT} of the prompts"),
        ("worst_case", f"at least {worst_case.SHARE} rightly"),
        ("worst_case", f"{2 * worst_case.N_PAIRS:,} prompts"),
        ("adversarial_restore", f"= {adversarial_restore.LIMIT_NATS:.3f}"),
        ("resample_independent", f"at least {resample_independent.F_LOW}"),
        ("independence", f"at most {independence.DEPENDENCE}"),
        ("independence", f"on {0.5 - independence.EPSILON} to {0.5 + independence.EPSILON} of"),
        ("size_curve", f"[{sufficient.F_LOW:.2f}, {sufficient.F_HIGH:.2f}]"),
    ],
)
def test_thresholds_are_those_of_the_code(section, said):
    """As each claim has them."""
    assert said in SECTIONS[section]


def test_words_of_the_page_are_numbers_of_the_code():
    """Five, ten, half: where the page writes a number as a word."""
    assert intervals.FEWEST == 5
    assert stable.N_SEARCHES == 10
    assert stochastic_restore.SHARES == (0.1, 0.25, 0.5, 0.75, 0.9)
    assert same_question.SAME == 0.5
    assert outweighing._NAMED == 5
    assert generalises.HALF_WAY_NATS == HALFWAY
    assert same_size.NEAREST > 1  # "about as much": from several, not the nearest
