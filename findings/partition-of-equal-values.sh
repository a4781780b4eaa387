#!/usr/bin/env bash
# numpy's partition, which need not sort, takes many times as long as its sort on
# rows in which many values are equal.
#
# One would expect: to find the k-th largest value of each row, `partition` is the
# fast way, and `sort` the slow one. Equal values make it easier, if anything.
# What happens: on rows of 1,024 distinct float32 values partition and sort take
# about as long as each other. With four fifths of the values 0, sort gets faster, and
# partition takes about ten times as long as on distinct values: some twenty times
# as long as the sort. The result is right. It is the vectorised path (x86 with
# AVX2 or AVX-512): without it, partition is the faster one in both cases.
# Why it matters: activations are such rows, after a ReLU or in a sparse model. A
# top-k by partition that was timed on random numbers is then ten times as slow.
# `sort` gives the same threshold.
# Versions: numpy 2.4.6, Python 3.11, x86-64 with AVX2 or AVX-512.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile numpy==2.4.6
"$folder/env/bin/python" - <<'PY'
import time

import numpy as np

rng = np.random.default_rng(0)
distinct = np.abs(rng.standard_normal((512, 1024), dtype=np.float32))
mostly_0 = np.where(rng.random(distinct.shape) < 0.8, np.float32(0), distinct)
PLACE = 768  # the largest quarter of a row


def least_ms(rows, method):
    """The shortest of nine runs, and the value at the place."""
    times = []
    for _ in range(9):
        work = rows.copy()
        began = time.perf_counter()
        if method == "partition":
            work.partition(PLACE, axis=1)
        else:
            work.sort(axis=1)
        times.append(1000 * (time.perf_counter() - began))
    return min(times), work[:, PLACE]


print("numpy", np.__version__)
took = {}
for name, rows in (("distinct", distinct), ("four fifths 0", mostly_0)):
    by_partition, by_sort = least_ms(rows, "partition"), least_ms(rows, "sort")
    assert np.array_equal(by_partition[1], by_sort[1])
    took[name] = by_partition[0], by_sort[0]
    print(f"{name}: partition {by_partition[0]:.2f} ms, sort {by_sort[0]:.2f} ms")

assert took["four fifths 0"][0] > 4 * took["distinct"][0]
assert took["four fifths 0"][0] > 5 * took["four fifths 0"][1]
PY
