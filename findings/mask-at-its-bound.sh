#!/usr/bin/env bash
# A mask that starts at 1 learns under clamp and never under hardtanh.
#
# One would expect: clamp(m, 0, 1) and hardtanh(m, 0, 1), one function, have one
# gradient, also at 0 and 1.
# What happens: at both bounds clamp passes the whole gradient, hardtanh (and
# hardsigmoid, relu6) passes none, and torch.minimum with 1 passes half of it.
# Why it matters: masks over nodes or edges usually start at exactly 1, everything
# kept. Under hardtanh such a mask is frozen: nothing is ever pruned, and an L1
# penalty on the mask does not move it either. Under clamp a gate that was stopped at
# 0 can come back; under hardtanh it is dead.
# Versions: torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PY'
import torch
import torch.nn.functional as F

print("torch", torch.__version__)
one = torch.ones(())
gates = {
    "clamp": lambda m: m.clamp(0, 1),
    "hardtanh": lambda m: F.hardtanh(m, 0.0, 1.0),
    "minimum": lambda m: torch.minimum(m, one),
}


def gradient(gate, start):
    mask = torch.tensor(start, requires_grad=True)
    gate(mask).backward()
    return mask.grad.item()


seen = {name: (gradient(gate, 0.0), gradient(gate, 1.0)) for name, gate in gates.items()}
for name, (at_zero, at_one) in seen.items():
    print(f"{name}: gradient at 0 is {at_zero}, at 1 is {at_one}")
assert seen["clamp"] == (1.0, 1.0)
assert seen["hardtanh"] == (0.0, 0.0)
assert seen["minimum"] == (1.0, 0.5)


def kept_after_training(gate):
    mask = torch.ones(10, requires_grad=True)
    optimiser = torch.optim.Adam([mask], lr=0.05)
    useful = (torch.arange(10) < 3).float()
    for _ in range(100):
        optimiser.zero_grad()
        kept = gate(mask)
        (0.1 * kept.sum() - (useful * kept).sum()).backward()
        optimiser.step()
    return int((gate(mask) > 0.5).sum())


kept = {name: kept_after_training(gates[name]) for name in ("clamp", "hardtanh")}
print("nodes kept of 10, where 3 are useful:", kept)
assert kept == {"clamp": 3, "hardtanh": 10}
PY
