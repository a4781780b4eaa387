"""captum: layer integrated gradients and layer feature ablation on heads and neurons.

The layers are the inputs of ``attn.c_proj`` (all heads, side by side) and of ``mlp.c_proj`` (the
neurons). The score of a head or neuron is the sum over positions and channels, averaged over
prompts. captum scores parts, not circuits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from captum.attr import LayerFeatureAblation, LayerIntegratedGradients
from planted_folder import Folder, main, method
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

N_STEPS = 50
"""captum's default."""


class Difference(nn.Module):
    """The logit difference of each prompt; the last words and answers ride along."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, last: Tensor, answer: Tensor, foil: Tensor) -> Tensor:
        rows = torch.arange(len(tokens))
        final = self.model(tokens).logits[rows, last]
        return final[rows, answer] - final[rows, foil]


def layers(model: nn.Module, folder: Folder) -> Iterator[tuple[str, nn.Module, int]]:
    """The module whose input holds the parts, the name of these and their number."""
    for i, block in enumerate(model.transformer.h):
        yield f"a{i}.h", block.attn.c_proj, folder.n_head
        yield f"m{i}.n", block.mlp.c_proj, folder.d_mlp


def integrated(function: Difference, folder: Folder) -> dict[str, float]:
    """From the other prompt of a pair to the prompt, in the layer's values."""
    prompts, scores = folder.discovery, {}
    rest = (prompts.last, prompts.answer, prompts.foil)
    for name, module, n in layers(function.model, folder):
        found = LayerIntegratedGradients(function, module).attribute(
            prompts.tokens, baselines=prompts.other, additional_forward_args=rest,
            n_steps=N_STEPS, attribute_to_layer_input=True,
        )  # fmt: skip
        by_part = found.sum(1).unflatten(1, (n, -1)).sum(2).mean(0)
        scores |= {f"{name}{i}": float(score) for i, score in enumerate(by_part)}
    return scores


def ablated(function: Difference, folder: Folder) -> dict[str, float]:
    """Each part set to 0 at all positions."""
    prompts, scores = folder.discovery, {}
    rest = (prompts.last, prompts.answer, prompts.foil)
    for name, module, n in layers(function.model, folder):
        width = module.weight.shape[0]
        groups = torch.arange(n).repeat_interleave(width // n).expand(1, 1, width)
        with torch.no_grad():
            found = LayerFeatureAblation(function, module).attribute(
                prompts.tokens, layer_baselines=0, additional_forward_args=rest,
                layer_mask=groups, attribute_to_layer_input=True,
            )  # fmt: skip
        by_part = found[:, 0].unflatten(1, (n, -1))[..., 0].mean(0)
        scores |= {f"{name}{i}": float(score) for i, score in enumerate(by_part)}
    return scores


def run(folder: Folder) -> dict[str, dict]:
    """Both methods on one model."""
    function = Difference(AutoModelForCausalLM.from_pretrained(folder.path)).eval()
    found = {}
    for name, search in (("integrated gradients", integrated), ("ablation, zero", ablated)):
        began = time.process_time()
        scores = search(function, folder)
        found[name] = method(parts=scores, seconds=time.process_time() - began)
    return found


if __name__ == "__main__":
    main(("captum", "transformers", "torch"), run)
