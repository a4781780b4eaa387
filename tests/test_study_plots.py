"""Laws of a study's plots: what a size is, what is on the frontier, the same bytes twice."""

import json
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import typst
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitkit.statistics.intervals import FEWEST
from circuitkit.studies.result_columns import row_of
from circuitkit.studies.results import StudyResults, frame_of
from circuitkit.studies.study_page import write_page
from circuitkit.studies.study_plots import _PLOTS, _panels, draw, on_frontier
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
    """A circuit that misses it is no size; one without edges has a size of 0."""
    rows = [row("sparse", "a", n, seed=n) for n in (10, 20, 90)]
    rows += [row("sparse", "a", 1, outcome="target_missed"), row("sparse", "b", 0)]
    found = sizes(frame_of(rows), ["task"])
    assert found.to_dict("records") == [
        {"task": "a", "n_edges": 20.0}, {"task": "b", "n_edges": 0.0},
    ]  # fmt: skip


@pytest.mark.parametrize("name", get_args(PlotName))
def test_a_plot_is_drawn_twice_alike_or_not_at_all(name):
    """The same bytes from the same table; nothing from one without circuits."""
    drawn = draw(name, frame_of(ROWS))
    assert drawn is not None
    assert "</svg>" in drawn
    assert drawn == draw(name, frame_of(ROWS))
    assert draw(name, frame_of([])) is None


def said(name, rows):
    """The title of the last panel of a plot and the lines of its legend."""
    ax = Figure().subplots()
    _PLOTS[name].draw(_panels(name, frame_of(rows))[-1].frame, ax)
    return [ax.get_title(), *ax.get_legend_handles_labels()[1]]


@pytest.mark.parametrize("name", [name for name in get_args(PlotName) if name != "mechanisms"])
def test_a_task_with_a_circuit_without_edges_is_in_no_mean(name):
    """The plot says how many it leaves out; there is none of such tasks alone."""
    rows = [row(c, t, n) for c in ("sparse", "dense") for t, n in (("a", 10), ("b", 0))]
    assert draw(name, frame_of(rows)) is not None
    left_out = "1 task; left out: 1 with a circuit of 0 edges"
    assert any(left_out in text for text in said(name, rows))
    assert not any("left out" in text for text in said(name, rows[::2]))
    assert draw(name, frame_of(rows[1::2])) is None


@pytest.mark.parametrize("name", ["size_by_rung", "sparse_by_dense"])
def test_a_line_of_a_legend_without_a_mean_says_why(name):
    """Where every circuit of a rung is one without edges."""
    rows = [row(c, "a", n, rung=rung) for c in ("sparse", "dense")
            for rung, n in (("smallest", 0), ("trusted", 10))]  # fmt: skip
    left_out = "0 tasks; left out: 1 with a circuit of 0 edges"
    assert any(text.startswith("smallest") and left_out in text for text in said(name, rows))
    assert not any("nan" in text for text in said(name, rows))


@pytest.mark.parametrize(
    ("name", "n_panels"),
    [("size_by_rung", 4), ("size_by_method", 4), ("frontier", 2), ("mechanisms", 2)],
)
def test_a_plot_brings_nothing_together_but_seeds(name, n_panels):
    """There is a panel for each value of what it does not show: sizes are those of circuits."""
    rows = [
        row(checkpoint, "a", n_edges, target_loss_nats=target, mechanisms=mechanisms)
        for checkpoint in ("sparse", "dense")
        for n_edges, target, mechanisms in ((100, 0.15, "one"), (20, 0.3, "several"))
    ]  # fmt: skip
    drawn = draw(name, frame_of(rows))
    assert drawn is not None
    assert drawn == draw(name, frame_of(rows))
    assert drawn.count('id="axes_') == n_panels
    assert draw(name, frame_of(rows[::2])).count('id="axes_') == n_panels / 2


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


@pytest.mark.parametrize("name", get_args(PlotName))
def test_a_dollar_sign_begins_no_formula(name):
    """In the names of tasks and checkpoints."""
    frame = frame_of(ROWS)
    odd = frame.assign(task=frame["task"] + "$^$", checkpoint=frame["checkpoint"] + "$_$")
    assert draw(name, odd)


def test_one_checkpoint_is_not_compared_with_itself():
    """Nor two that share no task."""
    assert draw("sparse_by_dense", frame_of([row("sparse", "a", 1)])) is None
    apart = [row("sparse", "a", 1), row("dense", "b", 1)]
    assert draw("sparse_by_dense", frame_of(apart)) is None
    assert draw("frontier", frame_of(apart)) is None


def test_two_models_are_compared_and_the_others_named():
    """The one with the smallest share of weights that are not zero, and that with the largest."""
    rows = [*ROWS[:4], row("dense", "a", 40) | {"checkpoint": "middle", "n_nonzero": 500}]
    assert "(but not middle: " in said("sparse_by_dense", rows)[0]
    assert "but not" not in said("sparse_by_dense", ROWS[:4])[0]


def test_of_two_models_as_sparse_as_each_other_neither_is_the_sparse_one():
    """Their order in the table would say which."""
    assert draw("sparse_by_dense", frame_of([r | {"n_nonzero": 100} for r in ROWS[:4]])) is None


def test_a_mean_by_target_is_over_tasks_found_at_every_target_asked_for():
    """Also where no task is found at one of them."""
    rows = [
        row("sparse", task, 10, target_loss_nats=target, outcome=outcome)
        for task in "ab"
        for target, outcome in ((0.05, "target_missed"), (0.15, "target_met"), (0.3, "target_met"))
    ]
    assert said("size_by_target", rows)[1:] == ["sparse, smallest (0 tasks)"]
    rows[0]["outcome"] = "target_met"
    assert said("size_by_target", rows)[1:] == ["sparse, smallest (1 task)"]


def test_a_ratio_has_an_interval_over_tasks():
    """It holds the geometric mean, and is that alone where tasks agree."""
    ratios = np.array([2.0, 4.0, 8.0, 16.0, 32.0])
    low, high = ratio_interval(ratios)
    assert low < geometric_mean(ratios) < high
    assert ratio_interval(np.full(FEWEST, 3.0)) == pytest.approx((3.0, 3.0))


def test_fewer_tasks_than_bound_anything_have_no_interval():
    """As elsewhere, where units are templates."""
    rows = [row(c, t, n) for c, n in (("sparse", 1), ("dense", 3)) for t in "abcde"]
    assert said("sparse_by_dense", rows)[1:] == ["smallest, 0.15 nats: ×3.0 [3.0, 3.0], 5 tasks"]
    assert said("sparse_by_dense", rows[:-1])[1:] == ["smallest, 0.15 nats: ×3.0, 4 tasks"]


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
