"""Laws of docs/validation.md: every claim and grade is there, with the code's thresholds."""

import re
from pathlib import Path

import pytest
from test_readme import test_commands_and_their_options_exist as command_exists

from circuitkit.findings import DEFAULT_CLAIMS, Claim
from circuitkit.statistics.decision import MIN_CLUSTERS
from circuitkit.validation.claims import (
    adversarial_restore,
    claims_of,
    complete,
    independence,
    resample_independent,
    roles,
    search_null,
    specific,
    stable,
    worst_case,
)
from circuitkit.validation.claims.necessary import NECESSITY
from circuitkit.validation.verdict import MIN_SIZE_RATIO
from circuitkit.views.findings_section import GRADES

TEXT = (Path(__file__).parents[1] / "docs" / "validation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```([^\n]*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [line for info, text in BLOCKS if not info for line in text.splitlines()]
COMMANDS += re.findall(r"`(circuitkit [^`]+)`", TEXT)
MEANING, RUN = TEXT.split("\n## A thorough run")
ROWS, MEASURED = (
    dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", part, re.MULTILINE)) for part in (MEANING, RUN)
)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_exists(line):
    """With its options."""
    command_exists(line)


def test_every_claim_has_its_row():
    """Once, in the order of the suite, those of the default suite apart."""
    assert list(ROWS) == [str(claim) for claim in Claim]
    assert all(row.count(" | ") == 1 for row in list(ROWS.values())[: len(DEFAULT_CLAIMS)])


def test_the_run_tells_every_thorough_claim():
    """Also those that failed, each with its outcome."""
    assert list(MEASURED) == [str(claim) for claim in claims_of("thorough")]
    outcomes = {row.partition(" | ")[0].strip("*") for row in MEASURED.values()}
    assert outcomes <= {"pass", "fail", "inconclusive", "not run"}


def test_every_grade_has_its_row():
    """And the conditions are the code's."""
    assert re.findall(r"^\| ([A-F](?:-redundant)?) \|", TEXT, re.MULTILINE) == list(GRADES)
    assert f"Fewer than {MIN_CLUSTERS} templates" in TEXT
    assert f"at least {MIN_SIZE_RATIO:.0f} times the edges" in TEXT


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        ("search_null", f"p ≤ {search_null.P} over {search_null.N_DRAWS} draws"),
        ("search_null", f"A needs {MIN_SIZE_RATIO:.0f}"),
        ("complete", f"in F ≤ {complete.MEAN_GAP}, worst ≤ {complete.WORST_GAP}"),
        ("complete", f"{complete.N_SUBSETS} random halves"),
        ("roles", f"explained ≥ {roles.EXPLAINED}, median correlation ≥ {roles.CORRELATION}"),
        ("specific", f"loses ≥ {NECESSITY}, the median other ≤ {specific.TYPICAL_HARM}"),
        ("stable", f"agreement ≥ {stable.AGREEMENT}"),
        ("worst_case", f"right ≥ {worst_case.SHARE}"),
        ("worst_case", f"{2 * worst_case.N_PAIRS:,} prompts"),
        ("adversarial_restore", f"loss ≤ {adversarial_restore.LIMIT_NATS:.3f} nats"),
        ("resample_independent", f"F ≥ {resample_independent.F_LOW}"),
        ("independence", f"correlation² ≤ {independence.DEPENDENCE}"),
        ("independence", f"on {0.5 - independence.EPSILON} to {0.5 + independence.EPSILON} of"),
    ],
)
def test_thresholds_are_those_of_the_code(claim, told):
    """As each row has them."""
    assert told in ROWS[claim]
