#!/usr/bin/env bash
# Two spellings of one sparse product give pruned weights different gradients.
#
# One would expect: torch.sparse.mm(w.to_sparse(), x) and w.to_sparse() @ x, which
# give the same values, also give w the same gradient.
# What happens: under `@` the zero weights get their dense gradient. Under
# torch.sparse.mm (and torch.sparse.addmm) they get exactly 0, and so it is in
# both layouts, COO and CSR.
# Why it matters: in a weight-sparse model most weights are zero. A score such as
# "what would this absent edge do" (the gradient at a zero weight), or training
# that lets pruned weights come back, is all zeros after a change of spelling that
# no comparison of outputs can see.
# Versions: torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" -W ignore - <<'PY'
import torch

print("torch", torch.__version__)
torch.manual_seed(0)
weights = torch.randn(8, 8) * (torch.rand(8, 8) < 0.3)
weights.requires_grad_()
inputs = torch.randn(8, 5)
absent = weights == 0


def run(product):
    weights.grad = None
    output = product()
    output.pow(2).sum().backward()
    return output.detach(), weights.grad


dense_output, dense = run(lambda: weights @ inputs)
products = {
    "coo @": lambda: weights.to_sparse() @ inputs,
    "csr @": lambda: weights.to_sparse_csr() @ inputs,
    "coo torch.sparse.mm": lambda: torch.sparse.mm(weights.to_sparse(), inputs),
    "csr torch.sparse.mm": lambda: torch.sparse.mm(weights.to_sparse_csr(), inputs),
}
print("dense: largest gradient at a zero weight", dense[absent].abs().max().item())
for name, product in products.items():
    output, gradient = run(product)
    print(f"{name}: largest gradient at a zero weight {gradient[absent].abs().max().item()}")
    assert torch.allclose(output, dense_output, atol=1e-5)
    assert torch.allclose(gradient[~absent], dense[~absent], atol=1e-4)
    if name.endswith("@"):
        assert torch.allclose(gradient, dense, atol=1e-4)
    else:
        assert (gradient[absent] == 0).all()
assert dense[absent].abs().max() > 1
PY
