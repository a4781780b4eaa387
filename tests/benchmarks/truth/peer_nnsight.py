"""nnsight: attribution patching by hand on heads and neurons.

The score is the gradient of the logit difference by a part's value, times how much the value
changes on the other prompt of the pair (Nanda 2023, Attribution Patching). nnsight has no score
of a circuit of its own.
"""

from __future__ import annotations

import time

import torch
from nnsight import LanguageModel
from planted_folder import Folder, main, method


def run(folder: Folder) -> dict[str, dict]:
    """All heads and neurons from two forward passes and one backward pass."""
    model = LanguageModel(folder.path, dispatch=True)
    prompts, began = folder.discovery, time.process_time()
    rows, values, others, grads = torch.arange(len(prompts.last)), [], [], []
    with torch.no_grad(), model.trace(prompts.other):
        for block in model.transformer.h:
            others.append(block.attn.c_proj.input.save())
            others.append(block.mlp.c_proj.input.save())
    with model.trace(prompts.tokens):
        for block in model.transformer.h:
            values.append(block.attn.c_proj.input.save())
            values.append(block.mlp.c_proj.input.save())
        final = model.lm_head.output[rows, prompts.last]
        difference = (final[rows, prompts.answer] - final[rows, prompts.foil]).mean()
        with difference.backward():
            for value in reversed(values):
                grads.insert(0, value.grad.save())
    scores = {}
    for place, (value, other, grad) in enumerate(zip(values, others, grads, strict=True)):
        layer, is_mlp = divmod(place, 2)
        n, name = (folder.d_mlp, f"m{layer}.n") if is_mlp else (folder.n_head, f"a{layer}.h")
        effect = (grad * (value - other)).sum((0, 1)).detach().unflatten(0, (n, -1)).sum(1)
        scores |= {f"{name}{i}": float(score) for i, score in enumerate(effect)}
    found = method(parts=scores, seconds=time.process_time() - began)
    return {"attribution patching": found}


if __name__ == "__main__":
    main(("nnsight", "transformers", "torch"), run)
