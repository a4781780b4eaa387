"""Laws of families as pairs with a label: sorted, counted, refused; no model is run."""

import json

import pytest
from test_pair_files import as_csv, as_jsonl, written

from circuitkit.errors import TaskError
from circuitkit.planted import plant
from circuitkit.task import load_task
from circuitkit.task.family import FEWEST_TEMPLATES, FORMS, PARTS, forms_of, labels_by, sort_pairs

N = {"train": 200, "select": 100, "test": 100}
HEADER = ("prompt_a", "answer_a", "prompt_b", "answer_b", "template", "split", "family", "Family_2")


def rows(*families, n_templates=6, splits=PARTS):
    """Two pairs of every template; templates in each split for each family."""
    return [
        (f"{family} {split} {i} {j} left", "l", f"{family} {split} {i} {j} right", "r",
         f"{family}{split}{i}", split, family, "all")
        for family in families for split in splits for i in range(n_templates) for j in range(2)
    ]  # fmt: skip


def sorted_by(folder, by, given, name="mine.csv"):
    text = as_csv(given, HEADER) if name.endswith("csv") else as_jsonl(given, HEADER)
    task = load_task(written(folder, text, name))
    return task, sort_pairs(task, by, labels_by(task, by), N)


@pytest.fixture
def forms(tmp_path):
    """A planted task of three forms."""
    (tmp_path / "task.jsonl").write_text(plant("surface_forms").task_lines)
    return load_task(tmp_path / "task.jsonl")


def test_every_pair_is_in_the_family_of_its_form(forms):
    """And in the split that it was in, unless it helps to choose nodes."""
    found = sort_pairs(forms, FORMS, labels_by(forms, FORMS), N)
    assert found.names == forms_of(forms) == ("busy", "capital", "plain")
    assert found.notes == ()
    for family in found.families:
        for split in PARTS:
            assert set(family.templates(split)) <= set(forms.templates(split))
            assert all(name.startswith(f"{family.name}/") for name in family.templates(split))


@pytest.mark.parametrize("name", ["mine.csv", "mine.jsonl"])
def test_a_column_named_family_sorts_the_pairs(tmp_path, name):
    """Whatever its capitals; there may be several."""
    task, found = sorted_by(tmp_path, "family", rows("x", "y"), name)
    assert found.names == ("x", "y")
    assert [len(f.pairs["test"]) for f in found.families] == [12, 12]
    with pytest.raises(TaskError, match="one family by family_2, all: there is nothing to comp"):
        sort_pairs(task, "family_2", labels_by(task, "family_2"), N)


def test_a_nested_line_may_name_a_family(tmp_path):
    """Beside its sides."""
    (tmp_path / "mine.jsonl").write_text("".join(
        json.dumps({"a": {"prompt": r[0], "answer": r[1]}, "b": {"prompt": r[2], "answer": r[3]},
                    "template": r[4], "split": r[5], "family": r[6]}) + "\n"
        for r in rows("x", "y")
    ))  # fmt: skip
    task = load_task(tmp_path / "mine.jsonl")
    assert sort_pairs(task, "family", labels_by(task, "family"), N).names == ("x", "y")


NESTED = '{{"a":{{"prompt":"q","answer":"l"}},"b":{{"prompt":"p","answer":"r"}},{}}}\n'


@pytest.mark.parametrize(
    ("families", "why"),
    [
        ('"family":"x","Family":"y"', "'Family' comes twice"),
        ('"family":" "', "family is empty"),
        ('"family":"x","families":{"z":"1"}', "'families' is not known"),
    ],
)
def test_a_nested_line_says_of_families_what_a_table_may(tmp_path, families, why):
    """Nothing of it is dropped without a word."""
    (tmp_path / "mine.jsonl").write_text(NESTED.format(families))
    with pytest.raises(TaskError, match=f"line 1: {why}"):
        load_task(tmp_path / "mine.jsonl")


def test_a_rare_family_has_every_pair_of_the_file(tmp_path):
    """However many pairs of others there are."""
    _, found = sorted_by(tmp_path, "family", rows("common", n_templates=400) + rows("rare"))
    assert found.names == ("common", "rare")
    assert [len(found.families[1].pairs[split]) for split in PARTS] == [12, 12, 12]


def test_a_family_is_a_task_of_its_own(forms, tmp_path):
    """Its file holds its pairs with their splits, and is read back as the same task."""
    family = sort_pairs(forms, FORMS, labels_by(forms, FORMS), N).families[0]
    task = family.task_of(forms)
    path = tmp_path / "again.jsonl"
    path.write_bytes(task.file.data)
    again = load_task(path)
    assert again.sha256 == task.sha256
    for split in PARTS:
        assert set(again.up_to(split, 999)) == set(family.pairs[split])
    assert task.name.endswith(".busy")


def test_a_family_of_few_templates_is_left_out(tmp_path):
    """Said, with what it has and what it needs."""
    few = rows("few", n_templates=3)
    _, found = sorted_by(tmp_path, "family", rows("x", "y") + few)
    assert found.names == ("x", "y")
    (note,) = found.notes
    assert note.startswith("few is left out: it has 2 train, 4 select, 3 test")
    assert f"expected at least {FEWEST_TEMPLATES['train']} train" in note


def test_training_templates_help_to_choose_nodes(tmp_path):
    """Where a family has too few for that; test templates never do."""
    _, found = sorted_by(
        tmp_path, "family",
        rows("x", "y") + rows("z", splits=("train", "test")) + rows("z", n_templates=1),
    )  # fmt: skip
    z = found.families[-1]
    assert (z.name, len(z.templates("select"))) == ("z", FEWEST_TEMPLATES["select"])
    assert not set(z.templates("select")) & set(z.templates("test") + z.templates("train"))
    assert "z: 3 of its training templates are used to choose nodes" in found.notes


def test_a_name_that_is_no_folder_gets_one(tmp_path):
    """No path leads out of the circuit's folder."""
    _, found = sorted_by(tmp_path, "family", rows("../x", "y"))
    assert [f.folder for f in found.families] == ["family1", "y"]


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (("family 2", "family1"), ["family2", "family1"]),
        (("family1", "familß", "familSS"), ["familSS", "family1", "family3"]),
        (("x", "X", "a b", "family3"), ["X", "family2", "family3", "family4"]),
    ],
)
def test_no_two_families_share_a_folder(tmp_path, names, folders):
    """Nor where case is ignored: the second circuit would take the place of the first."""
    _, found = sorted_by(tmp_path, "family", rows(*names))
    assert [f.name for f in found.families] == sorted(names)
    assert [f.folder for f in found.families] == folders


def test_more_than_twelve_families_are_refused(tmp_path):
    """With how many there are."""
    with pytest.raises(TaskError, match="13 families by family, such as f0, f1, f10; expected at"):
        sorted_by(tmp_path, "family", rows(*(f"f{i}" for i in range(13)), n_templates=1))


@pytest.mark.parametrize(
    ("name", "by", "match"),
    [
        ("closing_quote", FORMS, "has templates without forms .* nothing to compare by form"),
        ("surface_forms", "colour", r"no families by 'colour'; .* \(this one has: none\)"),
    ],
)
def test_what_cannot_be_sorted_is_refused(tmp_path, name, by, match):
    """With what to do."""
    (tmp_path / "task.jsonl").write_text(plant(name).task_lines)
    with pytest.raises(TaskError, match=match):
        labels_by(load_task(tmp_path / "task.jsonl"), by)


def test_one_form_is_nothing_to_compare(tmp_path):
    """It is named."""
    lines = [line for line in plant("harder_form").task_lines.splitlines(True) if "easy/" in line]
    (tmp_path / "task.jsonl").write_text("".join(lines))
    with pytest.raises(TaskError, match="has one form, easy: there is nothing to compare"):
        labels_by(load_task(tmp_path / "task.jsonl"), FORMS)


def test_a_pair_in_two_families_is_refused(tmp_path):
    """Either way round, with both lines."""
    first = rows("x", "y")
    again = (*first[0][2:4], *first[0][:2], first[0][4], first[0][5], "y", "all")
    with pytest.raises(TaskError, match=r"in another family: .* Keep one of the two lines"):
        sorted_by(tmp_path, "family", [*first, again])


def test_an_empty_family_is_refused(tmp_path):
    """As an empty template is."""
    given = [(*row[:6], " ", "all") for row in rows("x")]
    with pytest.raises(TaskError, match="family is empty; give one in every row"):
        sorted_by(tmp_path, "family", given)


def test_a_line_without_a_family_is_refused(tmp_path):
    """Where others have one."""
    lines = as_jsonl(rows("x"), HEADER).splitlines()
    last = json.loads(lines[-1])
    del last["family"]
    path = written(tmp_path, "\n".join([*lines[:-1], json.dumps(last)]), "mine.jsonl")
    with pytest.raises(TaskError, match="line 36: family is missing, but other lines give one"):
        load_task(path)
