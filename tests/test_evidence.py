"""Laws of validation.json: findings in order, the weakest among them, nothing coerced."""

import json

import pytest
from example_circuit import example_circuit, example_validation
from hypothesis import given
from strategies import validations

from circuitkit.errors import CircuitError
from circuitkit.findings import DEFAULT_CLAIMS, Claim, Finding, Validation
from circuitkit.validation import grade_of
from circuitkit.views.report import write_report


@pytest.fixture
def validation():
    return example_validation(example_circuit())


@given(validation=validations())
def test_loading_undoes_saving(tmp_path_factory, validation):
    """The validation that comes back is equal, and saving it again gives the same bytes."""
    folder = tmp_path_factory.mktemp("validation")
    validation.save(folder)
    first = (folder / "validation.json").read_bytes()
    loaded = Validation.load(folder)
    assert loaded == validation
    loaded.save(folder)
    assert (folder / "validation.json").read_bytes() == first


def test_the_claims_are_those_of_the_design():
    """Thirteen by default, fourteen more when thorough, integrity first, bridges last."""
    assert (len(DEFAULT_CLAIMS), len(Claim)) == (13, 27)
    assert DEFAULT_CLAIMS[0] == Claim.INTEGRITY
    assert DEFAULT_CLAIMS[-1] == "follows_ood"
    assert tuple(Claim)[-2:] == ("size_curve", "explains_dense")


def test_a_verdict_from_before_a_claim_keeps_its_grade_and_is_shown(tmp_path):
    """It loads, is saved as it was and reported; graded anew, the claim counts as not run."""
    circuit = example_circuit()
    newer = (Claim.INTERCHANGE, Claim.STANDS_ALONE)
    every = example_validation(circuit, thorough=True)
    kept = [f for f in every.findings if f.claim not in newer]
    passing = [f.model_copy(update={"outcome": "pass", "n_clusters": 40}) for f in kept]
    earlier = every.model_copy(update={"grade": "B", "findings": tuple(passing)})
    earlier.save(tmp_path)
    written = (tmp_path / "validation.json").read_bytes()
    loaded = Validation.load(tmp_path)
    assert loaded == earlier
    assert (loaded.grade, loaded.passes) == ("B", True)
    assert not set(newer) & set(loaded.to_frame()["claim"])
    loaded.save(tmp_path)
    assert (tmp_path / "validation.json").read_bytes() == written
    write_report(tmp_path / "report.pdf", circuit, loaded)
    assert grade_of(loaded.findings) == "C"


def test_findings_are_looked_up_by_claim(validation):
    """By member or by name; an absent claim is a KeyError, as in any mapping."""
    assert validation[Claim.MINIMAL] is validation["minimal"]
    assert validation["minimal"].outcome == "fail"
    with pytest.raises(KeyError, match="size_curve"):
        validation[Claim.SIZE_CURVE]


@pytest.mark.parametrize(
    ("grade", "passes"),
    [("A", True), ("B", True), ("C", True), ("C-redundant", False), ("F", False)],
)
def test_grades_a_b_and_c_pass(validation, grade, passes):
    """A redundant circuit does not: it is not all there is."""
    assert validation.model_copy(update={"grade": grade}).passes is passes


def test_the_frame_has_a_row_a_finding_and_a_column_a_field(validation):
    """In the order of the suite."""
    frame = validation.to_frame()
    assert list(frame["claim"]) == [finding.claim.value for finding in validation.findings]
    assert list(frame.columns) == list(Finding.model_fields)


@pytest.mark.parametrize(
    ("grade", "outcome", "is_long", "said"),
    [("A", "pass", True, "nothing"), ("B", "pass", False, "the thorough suite was not run"),
     ("B", "pass", True, "integrity"), ("B", "not_run", False, "integrity"),
     ("C", "pass", False, "integrity")],
)  # fmt: skip
def test_what_a_grade_falls_short_of_is_a_claim_or_the_suite_not_run(grade, outcome, is_long, said):
    """A claim that passes is named only where the grade rests on it."""
    claims = DEFAULT_CLAIMS + ((Claim.STANDS_ALONE,) if is_long else ())
    verdict = Validation(
        grade=grade, weakest=Claim.INTEGRITY, circuit_sha256="0",
        findings=tuple(Finding(claim=claim, outcome=outcome) for claim in claims),
    )  # fmt: skip
    assert verdict.short_of == said


def without_weakest(raw):
    raw["findings"] = [f for f in raw["findings"] if f["claim"] != raw["weakest"]]


WRONG = {
    "out of order": (lambda raw: raw["findings"].reverse(), "once, in the order of the suite"),
    "twice": (lambda raw: raw["findings"].append(raw["findings"][0]), "each claim once"),
    "weakest absent": (without_weakest, "weakest names minimal, which is not among the findings"),
    "no findings": (
        lambda raw: raw.update(findings=[]),
        "weakest names minimal, which is not among",
    ),
    "claim in no order": (lambda raw: raw["findings"][0].update(claim="nice"), "in the order of"),
    "claim that is no name": (
        lambda raw: raw["findings"][0].update(claim="Nice one"),
        r"findings\.0\.claim: ",
    ),
    "unknown outcome": (
        lambda raw: raw["findings"][0].update(outcome="ok"),
        r"0\.outcome: .*'pass'",
    ),
    "unknown grade": (lambda raw: raw.update(grade="A+"), r"grade: .*'C-redundant'"),
    "unknown key": (lambda raw: raw.update(mood="good"), "mood: Extra inputs are not permitted"),
    "missing key": (lambda raw: raw.pop("circuit_sha256"), "circuit_sha256: Field required"),
    "wrong format": (lambda raw: raw.update(format="x"), r"format: .*'circuitkit\.validation/1'"),
    "NaN": (lambda raw: raw["findings"][0].update(effect=float("nan")), r"0\.effect: .*finite"),
    "text number": (lambda raw: raw["findings"][0].update(n_pairs="3"), r"0\.n_pairs: .*got '3'"),
    "negative": (lambda raw: raw["findings"][0].update(n_draws=-1), r"n_draws: .*equal to 0"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_file_is_refused_with_where(tmp_path, validation, fault):
    """Each fault is named: the key, what was expected, what was got."""
    spoil, match = WRONG[fault]
    raw = json.loads(validation.model_dump_json())
    spoil(raw)
    (tmp_path / "validation.json").write_text(json.dumps(raw))
    with pytest.raises(CircuitError, match=rf"(?s)validation\.json is not a validation: .*{match}"):
        Validation.load(tmp_path)


def test_a_truncated_file_is_refused(tmp_path, validation):
    """Half a file is no validation."""
    text = validation.model_dump_json()
    (tmp_path / "validation.json").write_text(text[: len(text) // 2])
    with pytest.raises(CircuitError, match="is not a validation: the file: Invalid JSON"):
        Validation.load(tmp_path)


def test_a_missing_file_is_refused(tmp_path):
    """The message names the command that makes one."""
    with pytest.raises(CircuitError, match=r"no such file: .*'circuitkit validate'"):
        Validation.load(tmp_path)
