"""Laws of a study's plots: what a size is, what is on the frontier, the same bytes twice."""

import json
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import typst
from matplotlib.axes import Axes

from circuitkit.studies.result_columns import row_of
from circuitkit.studies.results import StudyResults, frame_of
from circuitkit.studies.study_page import write_page
from circuitkit.studies.study_plots import draw, on_frontier
from circuitkit.studies.study_sizes import geometric_mean, ratio_interval, sizes
from circuitkit.studies.study_toml import PlotName, Study


def row(checkpoint, task, n_edges, **more):
    """A circuit of a sparse model, or of a dense one, at one target."""
    nonzero = {"dense": 1000, "sparse": 100}[checkpoint]
    known = {
        "cell": "0" * 64, "outcome": "target_met", "rung": "smallest", "method": "pruning",
        "seed": 0, "target_loss_nats": 0.15, "n_parameters": 1000, "n_nonzero": nonzero,
        "validation_loss_nats": 1.4 - nonzero / 10_000,
    }  # fmt: skip
    return row_of(**known | {"checkpoint": checkpoint, "task": task, "n_edges": n_edges} | more)


ROWS = [
    row("sparse", "a", 10), row("sparse", "b", 20), row("dense", "a", 160), row("dense", "b", 80),
    row("sparse", "a", 30, rung="trusted"), row("sparse", "b", 15, method="random"),
    row("sparse", "a", None, outcome="compared", mechanisms="one", overlap_min=0.9),
]  # fmt: skip


def test_a_size_is_the_median_over_seeds_of_circuits_that_meet_the_target():
    """A circuit that misses it, or is empty, is no size."""
    rows = [row("sparse", "a", n, seed=n) for n in (10, 20, 90)]
    rows += [row("sparse", "a", 1, outcome="target_missed"), row("sparse", "b", 0)]
    found = sizes(frame_of(rows), ["task"])
    assert found.to_dict("records") == [{"task": "a", "n_edges": 20.0}]


@pytest.mark.parametrize("name", get_args(PlotName))
def test_a_plot_is_drawn_twice_alike_or_not_at_all(name):
    """The same bytes from the same table; nothing from one without circuits."""
    drawn = draw(name, frame_of(ROWS))
    assert drawn is not None
    assert "</svg>" in drawn
    assert drawn == draw(name, frame_of(ROWS))
    assert draw(name, frame_of([])) is None


@pytest.mark.parametrize("name", ["size_by_rung", "size_by_method", "frontier", "mechanisms"])
def test_a_plot_brings_nothing_together_but_seeds(name):
    """There is a panel for each value of what it does not show: sizes are those of circuits."""
    rows = [
        row(checkpoint, "a", n_edges, target_loss_nats=target, mechanisms=mechanisms)
        for checkpoint in ("sparse", "dense")
        for n_edges, target, mechanisms in ((100, 0.15, "one"), (20, 0.3, "several"))
    ]  # fmt: skip
    drawn = draw(name, frame_of(rows))
    assert drawn is not None
    assert drawn == draw(name, frame_of(rows))
    assert drawn.count('id="axes_') == 2
    assert draw(name, frame_of(rows[::2])).count('id="axes_') == 1


def test_a_size_mixes_no_targets():
    """The median of two targets is the size of no circuit."""
    rows = [row("sparse", "a", 100), row("sparse", "a", 20, target_loss_nats=0.3)]
    with pytest.raises(AssertionError, match=r"not over .*target_loss_nats"):
        sizes(frame_of(rows), ["task"])


def test_the_frontier_names_the_models_without_a_point(monkeypatch):
    """The sparsest may do nothing, which is part of the answer."""
    titles = []
    monkeypatch.setattr(Axes, "set_title", lambda _, title, **__: titles.append(title))
    rows = [*ROWS[:4], row("dense", "a", None, outcome="task_not_done") | {"checkpoint": "none"}]
    assert draw("frontier", frame_of(rows)) is not None
    assert "(but not none, which have no point)" in titles[-1]


def test_one_checkpoint_is_not_compared_with_itself():
    """Nor two that share no task."""
    assert draw("sparse_by_dense", frame_of([row("sparse", "a", 1)])) is None
    apart = [row("sparse", "a", 1), row("dense", "b", 1)]
    assert draw("sparse_by_dense", frame_of(apart)) is None
    assert draw("frontier", frame_of(apart)) is None


def test_a_ratio_has_an_interval_over_tasks():
    """It holds the geometric mean, and is that alone where tasks agree."""
    ratios = np.array([2.0, 4.0, 8.0, 16.0])
    low, high = ratio_interval(ratios)
    assert low < geometric_mean(ratios) < high
    assert ratio_interval(np.array([3.0, 3.0])) == pytest.approx((3.0, 3.0))


def test_a_model_is_on_the_frontier_unless_another_is_better_in_both():
    """One as good in one and better in the other is enough."""
    points = pd.DataFrame(
        {"validation_loss_nats": [1.0, 1.2, 1.2, 1.4], "edges": [90.0, 50.0, 60.0, 50.0]}
    )
    assert on_frontier(points) == [True, True, False, False]


def test_the_page_and_the_pdf_take_names_as_they_are(tmp_path):
    """What looks like HTML or Typst is shown, not run."""
    study = Study(
        format="circuitkit.study/1", name="x", question='<script> #panic("no") $x$',
        checkpoints=("c",), plots=("size_by_rung", "frontier"),
    )  # fmt: skip
    error = row("sparse", "<i>#panic()</i>", None, outcome="error", error="[*no*]")
    write_page(study, StudyResults(tmp_path, frame_of([*ROWS[:2], error])))
    page = (tmp_path / "index.html").read_text()
    assert "&lt;script&gt; #panic" in page
    assert "<i>" not in page
    assert (tmp_path / "study.pdf").read_bytes().startswith(b"%PDF")


def test_a_long_table_is_cut_in_the_pdf_alone(tmp_path, monkeypatch):
    """The page has every row; the PDF says how many it leaves out."""
    rows = [row("sparse", "a", 10, seed=n) for n in range(230)]
    study = Study(format="circuitkit.study/1", name="x", question="?", checkpoints=("c",))
    typeset, given = typst.compile, []
    monkeypatch.setattr(
        typst, "compile", lambda *a, **k: given.append(k["sys_inputs"]) or typeset(*a, **k)
    )
    write_page(study, StudyResults(tmp_path, frame_of(rows)))
    assert (tmp_path / "index.html").read_text().count("<tr><td>") == 230
    data = json.loads(given[0]["study"])
    assert (len(data["rows"]), data["more"]) == (200, 30)
