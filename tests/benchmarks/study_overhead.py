"""What the engines cost: 100 cells of two seconds, and the memory of 1,000 empty ones.

    PYTHONPATH=tests python tests/benchmarks/study_overhead.py [local] [ray] [memory [N ...]]

Prints the overhead: wall time × workers / time of the cells, less 1, of all and while cells
run; and the largest resident memory of the process that runs the study.
"""

import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

from tiny_study import TEXT, made_up, tiny_study

from circuitkit.studies import run_study as run_study_module
from circuitkit.studies import shipped_work, study_page
from circuitkit.studies.peak_memory import peak_bytes, start_counting
from circuitkit.studies.run_study import run_study

N_CELLS, SECONDS, WORKERS = 100, 2.0, 2


def slow(work):
    time.sleep(SECONDS)
    return made_up(work)


def slow_shipped(shipped, checkpoint):
    time.sleep(SECONDS)
    return made_up(shipped.work)


def study_of(folder, n_cells):
    seeds = f"seeds = {list(range(n_cells))}"
    return tiny_study(folder, TEXT.replace("seeds = [0, 1, 2, 3, 4, 5, 6, 7]", seeds))


def overhead(engine):
    """As a share of the time of the cells: of the whole run, and between first and last result."""
    run_study_module.run_cell, shipped_work.run_shipped = slow, slow_shipped
    ends = []

    def note(stage, done, total, note=""):
        if done:
            ends.append(time.monotonic())

    with tempfile.TemporaryDirectory() as name:
        began = time.monotonic()
        run_study(study_of(Path(name), N_CELLS), Path(name) / "out", engine=engine,
                  workers=WORKERS, progress=note)  # fmt: skip
        ended = time.monotonic()
    whole = (ended - began) * WORKERS / (N_CELLS * SECONDS) - 1
    within = (ends[-1] - ends[0]) * WORKERS / ((N_CELLS - WORKERS) * SECONDS) - 1
    before, after = ends[0] - began - SECONDS, ended - ends[-1]
    sys.stdout.write(
        f"{engine}: {ended - began:.1f} s, overhead {whole:.1%}; {within:.1%} from the first to "
        f"the last result, {before:.1f} s before, {after:.1f} s after\n"
    )


def memory(n_cells):
    """Of the process that runs the study: while cells run, and while it draws and typesets."""
    run_study_module.run_cell = made_up
    run_study_module.engine_of = lambda *_: lambda f, items, done: [done(i, f(i)) for i in items]
    peaks = []

    def write_page(study, results):
        peaks.append(peak_bytes())
        start_counting()
        study_page.write_page(study, results)
        peaks.append(peak_bytes())

    run_study_module.write_page = write_page
    with tempfile.TemporaryDirectory() as name:
        study = study_of(Path(name), n_cells)
        start_counting()
        run_study(study, Path(name) / "out")
    running, drawing = (peak / 2**20 for peak in peaks)
    sys.stdout.write(
        f"{n_cells} empty cells: driver's peak {running:.0f} MiB, with plots, page and PDF "
        f"{drawing:.0f} MiB\n"
    )


if __name__ == "__main__":
    asked = sys.argv[1:] or ["local", "ray", "memory"]
    for engine in ("local", "ray"):
        if engine in asked:
            overhead(engine)
    if "memory" in asked:
        for n in [int(word) for word in asked if word.isdigit()] or (10, 100, 1000):
            one = get_context("spawn").Process(target=memory, args=(n,))  # each in its own
            one.start()
            one.join()
