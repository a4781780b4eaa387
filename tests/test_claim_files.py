"""Laws of the claims' files: what each declares is so, and a new file is a new claim."""

import json
import re
import sys
from pathlib import Path

import pytest
from test_thorough import QUICK, TRUE, circuit_of, parse_nodes, planted, trial_of

from circuitkit.findings import WHERE_BRIDGED, Claim, Validation
from circuitkit.progress import silent
from circuitkit.task import load_task
from circuitkit.validation import claims, validate
from circuitkit.validation.claims import claims_of
from circuitkit.validation.search_trial import SearchTrial
from circuitkit.views.report import write_report

EVERY = {**claims_of("default"), **claims_of("thorough")}
NEED_OF = {
    "pool": "reference", "reference": "reference", "others": "other circuits",
    "siblings": "other circuits", "train": "train pairs", "select": "select pairs",
    "task_means": "train pairs",
}  # fmt: skip
"""What of a trial shows that a claim needs more than test pairs."""


class Watched(SearchTrial):
    """A trial that notes what a claim asks it for."""

    def __getattribute__(self, name):
        if name in NEED_OF:
            object.__getattribute__(self, "__dict__").setdefault("seen", set()).add(NEED_OF[name])
        return object.__getattribute__(self, name)

    def split(self, split, n_pairs):
        vars(self).setdefault("seen", set()).add(f"{split} pairs")
        return super().split(split, n_pairs)

    def ask(self, split, n, task=None):
        if task is None:
            vars(self).setdefault("seen", set()).add(f"{split} pairs")
        return super().ask(split, n, task)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("claims"))


@pytest.fixture(scope="module")
def with_ood(small, tmp_path_factory):
    """The same, some test templates being out of distribution."""
    checkpoint, task = small
    lines = [json.loads(line) for line in task.file.data.decode().splitlines()]
    apart = set(task.templates("test")[::3])
    path = tmp_path_factory.mktemp("ood") / "which_cue.jsonl"
    moved = ({**line, "split": "ood"} if line["template"] in apart else line for line in lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in moved))
    return checkpoint, load_task(path)


@pytest.mark.slow
@pytest.mark.parametrize("claim", [claim for claim in EVERY if claim not in WHERE_BRIDGED])
def test_a_claim_needs_what_it_declares(with_ood, claim):
    """Beyond test pairs: no more, and no less."""
    trial = trial_of(*with_ood, parse_nodes(*TRUE))
    watched = Watched.of(trial, QUICK)
    vars(watched).pop("seen", None)
    EVERY[claim].check(watched)
    seen = vars(watched).get("seen", set()) - {"test pairs"}
    assert seen == set(EVERY[claim].declared.needs)


@pytest.mark.parametrize("claim", EVERY)
def test_a_claim_is_found_by_its_file(claim):
    """Named after its id, it says what can fool it."""
    declared = EVERY[claim].declared
    assert (declared.id, EVERY[claim].check.__name__) == (claim, f"check_{claim}")
    assert EVERY[claim].check.__module__ == f"circuitkit.validation.claims.{claim}"
    assert declared.fooled_by


def test_the_claims_are_those_documented():
    """All of them, each in its suite and in its place."""
    assert tuple(EVERY) == tuple(Claim)


ADDED = '''
"""Polite: a claim of one's own."""
from circuitkit.findings import Finding
from circuitkit.validation.claim_test import Declared

CLAIM = Declared(id="polite", suite="default", fooled_by="manners")


def check_polite(trial):
    return Finding(claim=CLAIM.id, outcome="OUTCOME", effect=0.5, unit="of bows")
'''


@pytest.fixture
def added(tmp_path, monkeypatch):
    """A claim added as one file; nothing else is touched."""

    def add(outcome):
        (tmp_path / "polite.py").write_text(ADDED.replace("OUTCOME", outcome))
        claims_of.cache_clear()

    monkeypatch.setattr(claims, "__path__", [*claims.__path__, str(tmp_path)])
    yield add
    claims_of.cache_clear()
    sys.modules.pop("circuitkit.validation.claims.polite", None)


@pytest.mark.slow
def test_adding_a_claim_is_adding_one_file(small, added, tmp_path):
    """It is tested after the documented ones, saved, read again and reported."""
    added("pass")
    checkpoint, task = small
    circuit = circuit_of(*small, parse_nodes(*TRUE))
    validation = validate(checkpoint, task, circuit, progress=silent)
    assert validation.findings[-1].claim == "polite"
    validation.save(tmp_path)
    assert Validation.load(tmp_path) == validation
    assert "polite" in validation.to_frame()["claim"].tolist()
    write_report(tmp_path / "report.pdf", circuit, validation)


@pytest.mark.slow
def test_an_added_claim_that_fails_keeps_the_grade_back(small, added):
    """As one of the default suite does; one that passes raises nothing."""
    base = validate(*small, circuit_of(*small, parse_nodes(*TRUE)), progress=silent)
    assert base.grade == "B"
    added("fail")
    less = validate(*small, circuit_of(*small, parse_nodes(*TRUE)), progress=silent)
    assert (less.grade, less.weakest) == ("C", "polite")
    assert less.findings[:-1][0].claim == base.findings[0].claim


def test_the_claim_of_the_page_can_be_added(small, tmp_path, monkeypatch):
    """``docs/validation.md`` shows a file that works as it stands."""
    page = (Path(__file__).parents[1] / "docs" / "validation.md").read_text()
    (tmp_path / "short.py").write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1])
    monkeypatch.setattr(claims, "__path__", [*claims.__path__, str(tmp_path)])
    claims_of.cache_clear()
    finding = claims_of("default")["short"].check(trial_of(*small, parse_nodes(*TRUE)))
    claims_of.cache_clear()
    sys.modules.pop("circuitkit.validation.claims.short")
    assert (finding.claim, finding.outcome) == ("short", "pass")
