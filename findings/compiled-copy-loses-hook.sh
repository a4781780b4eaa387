#!/usr/bin/env bash
# A compiled model runs without its hook once an unhooked copy of it has been compiled.
#
# One would expect: a hook that is set before torch.compile and left alone runs in the compiled
# model, as the guide to hooks under torch.compile says.
# What happens: the compiled code belongs to the class and is chosen by checks that do not
# look at hooks. A second model of the class passes the checks of the first, whose code was made
# without a hook: the ablated copy gives the clean model's output, equal to the bit. In the other
# order both are right, and the ablated model compiled alone is right too. No warning.
# torch._dynamo.config.skip_nnmodule_hook_guards = False makes it right.
# Why it matters: comparing a clean model with ablated copies, each compiled for speed, clean
# one first, finds that nothing matters. The same script without the clean run, or without
# torch.compile, finds the effect.
# Seen: effect 0.0 with the clean model first, 0.627 in every other order.
# Versions: torch 2.13.0 (CPU; with the backends "eager" and "aot_eager", which need no C++
# compiler. The default backend does the same).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6
cat >"$folder/show.py" <<'PY'
import copy
import sys

import torch
from torch import nn

print("torch", torch.__version__)
torch.set_grad_enabled(False)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(8, 32), nn.Linear(32, 8)

    def forward(self, stream):
        return stream + self.down(torch.relu(self.up(stream)))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])

    def forward(self, stream):
        for block in self.blocks:
            stream = block(stream)
        return stream


torch.manual_seed(0)
clean = Model().eval()
ablated = copy.deepcopy(clean)
ablated.blocks[1].up.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
stream = torch.randn(4, 8)
effect = (ablated(stream) - clean(stream)).abs().max().item()
print("effect of the ablation, not compiled:", effect)
assert effect > 0.05


def compiled_effect(order, backend, check_hooks):
    torch.compiler.reset()
    torch._dynamo.config.skip_nnmodule_hook_guards = not check_hooks
    models = {
        "clean": torch.compile(clean, backend=backend),
        "ablated": torch.compile(ablated, backend=backend),
    }
    found = {name: models[name](stream) for name in order}
    assert "clean" not in found or torch.allclose(found["clean"], clean(stream), atol=1e-5)
    return (found["ablated"] - found.get("clean", clean(stream))).abs().max().item()


for backend in sys.argv[1:]:
    for order in (("clean", "ablated"), ("ablated", "clean"), ("ablated",)):
        for check_hooks in (False, True):
            found = compiled_effect(order, backend, check_hooks)
            kind = "hooks checked" if check_hooks else "as it comes"
            print(f"{backend}, {kind}, run in the order {', '.join(order)}: effect {found}")
            if order[0] == "clean" and not check_hooks:
                assert found == 0
            else:
                assert abs(found - effect) < 1e-5
PY
"$folder/env/bin/python" "$folder/show.py" eager aot_eager
