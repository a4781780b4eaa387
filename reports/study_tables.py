"""The studies in reports/studies as tables, as the documentation shows them.

Of a study the repository keeps ``study.json``, ``results.parquet`` and the plots. ``--keep`` makes
them of a folder that ``circuitkit study`` has written, run to its end or not, and of the cells that
are kept already: a study may be run in parts, each with some of its checkpoints, tasks or methods.
An interval of a geometric mean is 90 %, by bootstrap over tasks; fewer than five have none.

Usage: python reports/study_tables.py [NAME ...]
       python reports/study_tables.py --keep OUT
NAME is trust, methods, targets, sparse-against-dense, frontier or families.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from keep_study import STUDIES, keep

import pandas as pd

from circuitkit import load_results
from circuitkit.studies.study_plots import on_frontier
from circuitkit.studies.study_sizes import geometric_mean, in_brackets, n_tasks, sizes

NONE = "–"


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A table in Markdown."""
    titles = list(titles)
    yield f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|\n"
    for row in rows:
        yield f"| {' | '.join(row)} |\n"


def about(frame: pd.DataFrame) -> str:
    """How many cells, with what outcomes, and what they took."""
    cells: Any = frame.drop_duplicates("cell")
    counts = frame["outcome"].value_counts()
    outcomes = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts.items())
    return (
        f"\n{len(cells)} cells, {cells['seconds'].sum() / 3600:.1f} h on one core "
        f"(median {cells['seconds'].median():,.0f} s a cell, {cells['seconds'].min():,.0f} to "
        f"{cells['seconds'].max():,.0f} s); most memory "
        f"{cells['peak_memory_bytes'].max() / 2**30:.1f} GiB. Rows: {outcomes}.\n"
    )


def ratio(values: Any, what: str) -> str:
    """A geometric mean over tasks with its interval."""
    known = values.dropna().astype(float).to_numpy()
    mean = f"{geometric_mean(known):.1f} ×{in_brackets(known)}, " if len(known) else ""
    return f"{what}: {mean}{n_tasks(len(known), len(values))}"


def quotient(above: Any, below: Any) -> Any:
    """The ratio of each task; none where a circuit has 0 edges."""
    return (above / below).where((above > 0) & (below > 0))


def edges(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """Edges of circuits on target: a row a task, a column a value of ``by``."""
    return sizes(frame, ["task", by]).pivot(index="task", columns=by, values="n_edges")


def number(value: Any, how: str = ",.0f") -> str:
    """A number, or a dash where there is none."""
    return NONE if pd.isna(value) else f"{value:{how}}"


def times(value: Any, how: str) -> str:
    """A ratio, or a dash where there is none."""
    return NONE if pd.isna(value) else f"{value:{how}} ×"


def trust(frame: pd.DataFrame) -> Iterator[str]:
    """The price of a circuit that is to be trusted."""
    by_rung = {rung: rows.set_index("task") for rung, rows in frame.groupby("rung")}
    small, large = by_rung["smallest"], by_rung["trusted"]
    price = quotient(large["n_edges"], small["n_edges"])[large["outcome"] == "target_met"]
    yield from table(
        ("task", "smallest: nodes / edges", "F_x", "grade", "trusted: nodes / edges", "F_x",
         "grade", "price"),
        ([task, *_circuit(small.loc[task]), *_circuit(large.loc[task]),
          times(price[task], ".1f")] for task in price.index),
    )  # fmt: skip
    yield f"\n{ratio(price, 'Price of trust, in edges')}.\n"


def _circuit(row: Any) -> tuple[str, str, str]:
    size = f"{number(row['n_nodes'])} / {number(row['n_edges'])}"
    return size, number(row["f_interchange"], ".2f"), NONE if pd.isna(row["grade"]) else row["grade"]


def methods(frame: pd.DataFrame) -> Iterator[str]:
    """Edges at the same target loss, by where the ranking of nodes comes from."""
    found = edges(frame, "method")
    met = frame[frame["outcome"] == "target_met"]
    grades = {name: _counts(rows["grade"]) for name, rows in met.groupby("method")}
    names = ["pruning", *(name for name in found.columns if name != "pruning")]
    yield from table(
        ("task", *names), ([task, *map(number, row[names])] for task, row in found.iterrows())
    )
    for name in names[1:]:
        both = found[["pruning", name]].dropna()
        against = quotient(both[name], both["pruning"])
        yield f"\n{ratio(against, f'{name} against pruning, in edges')}; grades {grades[name]}."
    yield f"\n\npruning: grades {grades['pruning']}.\n"


def _counts(grades: Any) -> str:
    return ", ".join(f"{grade} {n}" for grade, n in grades.value_counts().sort_index().items())


def targets(frame: pd.DataFrame) -> Iterator[str]:
    """Edges at each target loss."""
    found = {name: edges(rows, "target_loss_nats") for name, rows in frame.groupby("checkpoint")}
    losses = sorted(frame["target_loss_nats"].unique())
    rows = [
        [name, task, *(number(row.get(loss)) for loss in losses)]
        for name, wide in found.items()
        for task, row in wide.iterrows()
    ]
    yield from table(("checkpoint", "task", *(f"{x:g} nats" for x in losses)), rows)
    for name, wide in found.items():
        both: Any = wide[[losses[0], losses[-1]]].dropna()
        what = f"{name}, edges at {losses[0]:g} against {losses[-1]:g} nats"
        yield f"\n{ratio(quotient(both[losses[0]], both[losses[-1]]), what)}.\n"


def sparse_against_dense(frame: pd.DataFrame) -> Iterator[str]:
    """Edges of each task that both models do."""
    sparse, dense = "tinypython-sparse", "tinypython-dense"
    for rung, rows in frame.groupby("rung"):
        found = edges(rows, "checkpoint")
        if not {sparse, dense} <= set(found.columns):
            continue
        found = found[[sparse, dense]].dropna()
        fewer = quotient(found[dense], found[sparse])
        grades = rows.pivot_table(
            index="task", columns="checkpoint", values="grade", aggfunc="first"
        )
        yield from table(
            ("task", f"{sparse}, {rung}", "grade", f"{dense}, {rung}", "grade", "ratio"),
            ([task, number(row[sparse]), grades.loc[task, sparse], number(row[dense]),
              grades.loc[task, dense], times(fewer[task], ".0f")]
             for task, row in found.iterrows()),
        )  # fmt: skip
        yield f"\n{ratio(fewer, f'Ratio of edges, {rung}')}.\n"


def frontier(frame: pd.DataFrame) -> Iterator[str]:
    """Validation loss and edges of every model that the study trained."""
    found = sizes(frame, ["checkpoint", "task"])
    every = found.pivot(index="checkpoint", columns="task", values="n_edges").dropna(axis=1)
    common = every.loc[:, (every > 0).all()]
    models = frame[frame["kind"] == "training"].set_index("checkpoint")
    done: Any = found.groupby("checkpoint")["task"].count()
    points = models.loc[common.index].assign(edges=common.apply(geometric_mean, axis=1))
    points = points.sort_values(["n_parameters", "n_nonzero"])
    best = on_frontier(points)
    yield from table(
        ("width", "weights", "not zero", "validation loss (nats)", "circuits on target",
         "edges", "on the frontier"),
        ([number(row["d_model"]), number(row["n_parameters"]), number(row["n_nonzero"]),
          number(row["validation_loss_nats"], ".3f"), number(done[name]),
          number(row["edges"], ",.1f"), "yes" if is_best else "no"]
         for (name, row), is_best in zip(points.iterrows(), best, strict=True)),
    )  # fmt: skip
    over = n_tasks(common.shape[1], every.shape[1])
    yield f"\nEdges: geometric mean over {', '.join(common.columns)}: {over}.\n"


def families(frame: pd.DataFrame) -> Iterator[str]:
    """What each task is, checkpoint by checkpoint."""
    names = list(dict.fromkeys(frame["checkpoint"]))
    by_name = {name: frame[frame["checkpoint"] == name].set_index("task") for name in names}
    titles = [t for name in names for t in (name, "families", "least overlap", "least F")]
    rows = [
        [task, *(text for name in names for text in _mechanisms(by_name[name], task))]
        for task in sorted(set(frame["task"]))
    ]
    yield from table(("task", *titles), rows)
    for name in names:
        counts = by_name[name]["mechanisms"].value_counts()
        yield f"\n{name}: {', '.join(f'{n} {what}' for what, n in counts.items())}.\n"


def _mechanisms(rows: pd.DataFrame, task: str) -> list[str]:
    row: Any = rows.loc[task] if task in rows.index else {"mechanisms": None}
    if pd.isna(row["mechanisms"]):
        return [str(row.get("outcome", NONE)).replace("_", " "), NONE, NONE, NONE]
    overlap, least = row["overlap_min"], row["f_transfer_min"]
    return [row["mechanisms"], number(row["n_families"]), number(overlap, ".2f"),
            number(least, ".2f")]  # fmt: skip


TABLES: dict[str, Callable[[pd.DataFrame], Iterator[str]]] = {
    "trust": trust,
    "methods": methods,
    "targets": targets,
    "sparse-against-dense": sparse_against_dense,
    "frontier": frontier,
    "families": families,
}


def main() -> None:
    """Keep a study, or print the tables of those that are kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--keep", type=Path, metavar="OUT", help="keep what this folder holds first")
    given = parser.parse_args()
    if given.keep:
        given.names = [keep(given.keep).name]
    kept = [name for name in TABLES if (STUDIES / name).is_dir()]
    if unknown := set(given.names) - set(kept):
        parser.error(f"{min(unknown)} is not kept; expected some of {', '.join(kept)}.")
    for name in given.names or kept:
        frame = load_results(STUDIES / name).frame
        sys.stdout.write(f"\n{name}\n\n")
        sys.stdout.writelines(TABLES[name](frame))
        sys.stdout.write(about(frame))


if __name__ == "__main__":
    main()
