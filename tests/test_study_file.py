"""Laws of the study's file: read strictly, and what is wrong is one clear message."""

import pytest

import circuitkit as ck
from circuitkit.errors import ConfigError
from circuitkit.studies.study_toml import load_study, shipped_studies
from circuitkit.task import builtin_tasks

LEAST = """
format = "circuitkit.study/1"
name = "mine"
question = "Does it?"
"""
ONE = LEAST + 'checkpoints = ["tinypython-nano"]\n'


def written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ONE + "seedz = [0]", "seedz.*Did you mean seeds"),
        (ONE + "[extract]\nn_tset = 3", "extract.n_tset.*Did you mean n_test"),
        (ONE + "[[train]]\nconfig = 'x'\naxes = []", "train.0.axes.*Did you mean axis"),
        (ONE + 'validate = "all"', "validate.*'none', 'default' or 'thorough'"),
        (ONE + 'rungs = ["highest"]', "rungs.0.*'smallest' or 'trusted'"),
        (ONE + 'methods = ["random"]\nrungs = ["trusted"]', "'random' reaches.*add it to rungs"),
        (ONE + "seeds = [0, 1, 0]", "seeds names 0 twice"),
        (ONE + "seeds = []", "seeds.*at least 1"),
        (ONE + "seeds = [-1]", "seeds.0.*greater than or equal to 0"),
        (ONE + "target_losses = [nan]", "target_losses.0.*"),
        (ONE + "target_losses = [0.0]", "greater than 0"),
        (LEAST, "neither checkpoints nor train"),
        (ONE.replace("study/1", "study/2"), "format.*circuitkit.study/1"),
        (ONE + "seeds = [", "is not TOML"),
        (ONE.replace("mine", "a/b"), "name.*pattern"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key(tmp_path, text, message):
    """And the nearest right one."""
    with pytest.raises(ConfigError, match=message):
        load_study(written(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "message"), [("trsut", "Did you mean trust"), ("no.toml", "expected a .toml or one")]
)
def test_a_study_that_is_not_there_is_refused(name, message):
    """With those that ship."""
    with pytest.raises(ConfigError, match=message):
        load_study(name)


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    """What lies beside it is found from anywhere; names stay names."""
    (tmp_path / "model").mkdir()
    (tmp_path / "t.jsonl").write_text("")
    text = LEAST + 'checkpoints = ["model", "tinypython-nano"]\ntasks = ["t.jsonl", "for_while"]'
    study = load_study(written(tmp_path, text))
    assert study.checkpoints == (str(tmp_path / "model"), "tinypython-nano")
    assert study.tasks == (str(tmp_path / "t.jsonl"), "for_while")


def test_what_ships_is_not_what_lies_beside_the_file(tmp_path):
    """As ``extract --out for_while`` makes it: other commands take these names so too."""
    for name in ("for_while", "tinypython-sparse"):
        (tmp_path / name).mkdir()
    text = LEAST + 'checkpoints = ["tinypython-sparse"]\ntasks = ["for_while"]'
    study = load_study(written(tmp_path, text))
    assert (study.checkpoints, study.tasks) == (("tinypython-sparse",), ("for_while",))


def test_a_study_is_itself(tmp_path):
    """What was read can be given again, and has its defaults."""
    study = ck.load_study(written(tmp_path, ONE))
    assert load_study(study) is study
    assert (study.tasks, study.seeds, study.validate_) == ("all", (0,), "default")


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_a_shipped_study_is_read_by_its_name(name):
    """It asks a question and draws something."""
    study = load_study(name)
    assert study.name == name
    assert study.question.endswith("?")
    assert study.plots


def test_cells_are_counted_without_making_them(tmp_path):
    """Trained models, those that are there, and every combination of the rest."""
    text = ONE + (
        "seeds = [0, 1]\ntarget_losses = [0.1, 0.2, 0.3]\n"
        "[[train]]\nconfig = 'tinypython-nano'\n"
        "[[train.axis]]\nvalues = [{ a = 1 }, { a = 2 }]\n"
        "[[train.axis]]\nvalues = [{ b = 1 }, { b = 2 }, { b = 3 }]\n"
    )
    study = load_study(written(tmp_path, text))
    assert study.n_cells(20) == 6 + 7 * 20 * 2 * 3
    assert study.train[0].points[1] == {"a": 1, "b": 2}
    assert len(builtin_tasks()) == 20
