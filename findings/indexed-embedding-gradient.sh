#!/usr/bin/env bash
# The gradient of table[ids] is another one at every run, with all seeds fixed.
#
# One would expect: on one machine, with one seed and one number of threads, a backward
# pass on the CPU repeats to the bit, and table[ids] is the same as F.embedding.
# What happens: with two threads the gradient of table[ids] adds up in an order that
# changes from run to run. F.embedding and index_select repeat, and so does table[ids]
# under torch.use_deterministic_algorithms(True).
# Why it matters: an embedding by indexing is common in small models written by hand. Two
# trainings with one seed drift apart, and so do the circuits found in them; one looks
# for the cause in the search.
# Versions: torch 2.13.0 (CPU, two cores or more).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PY'
import torch
import torch.nn.functional as F

print("torch", torch.__version__)
torch.set_num_threads(2)
torch.manual_seed(0)
weights = torch.randn(64, 128)
ids = torch.randint(0, 64, (64, 256))
upstream = torch.randn(64, 256, 128)


def different_gradients(look_up, runs=60):
    seen = set()
    for _ in range(runs):
        table = weights.clone().requires_grad_()
        look_up(table).backward(upstream)
        seen.add(table.grad.numpy().tobytes())
    return len(seen)


indexing = different_gradients(lambda table: table[ids])
embedding = different_gradients(lambda table: F.embedding(ids, table))
select = different_gradients(
    lambda table: table.index_select(0, ids.flatten()).view(64, 256, 128)
)
torch.use_deterministic_algorithms(True)
deterministic = different_gradients(lambda table: table[ids])
print("different gradients in 60 runs: table[ids]", indexing, "F.embedding", embedding)
print("index_select", select, "table[ids] with deterministic algorithms", deterministic)
assert indexing > 1
assert embedding == select == deterministic == 1
PY
