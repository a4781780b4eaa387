"""transformer-lens: activation patching by hand, and EAP, EAP-IG and ACDC by hand.

Patching: one head (``hook_z``) or neuron (``mlp.hook_post``) at a time is replaced at all
positions, by its value on the other prompt of the pair or by its mean over prompts and positions.
The score is what the logit difference loses; a part whose values do not change scores 0 unrun.
A circuit is run with every other head and neuron replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from planted_folder import Folder, Prompts, main, method
from torch import Tensor
from transformer_lens import TransformerBridge
from transformer_lens_edges import N_STEPS, Edges, acdc, circuit_run, gradients


def values_of(bridge, folder: Folder, prompts: Prompts, kind: str) -> dict[str, Tensor]:
    """What replaces heads and neurons, by hook."""
    names = [name for layer in range(folder.n_layer) for name in places(layer)]
    tokens = prompts.other if kind == "interchange" else prompts.tokens
    cache = bridge.run_with_cache(tokens, names_filter=names)[1]
    if kind == "interchange":
        return {name: cache[name] for name in names}
    return {name: cache[name][prompts.real].mean(0) for name in names}


def places(layer: int) -> tuple[str, str]:
    """The hooks of the heads and of the neurons of a layer."""
    return f"blocks.{layer}.attn.hook_z", f"blocks.{layer}.mlp.hook_post"


def changed(bridge, prompts: Prompts, values: dict[str, Tensor]) -> dict[str, list[int]]:
    """By hook, the heads or neurons that are replaced by anything else than what they are."""
    cache = bridge.run_with_cache(prompts.tokens, names_filter=list(values))[1]
    found = {}
    for name, value in values.items():
        differs = (cache[name] != value)[prompts.real].any(0)  # (head, d_head) or (neuron,)
        found[name] = differs.view(len(differs), -1).any(1).nonzero()[:, 0].tolist()
    return found


def replacing(values: Tensor, index: list[int]) -> Callable:
    """A hook that replaces some heads or neurons."""

    def hook(now: Tensor, hook) -> Tensor:
        now = now.clone()
        now[:, :, index] = values.expand_as(now)[:, :, index]
        return now

    return hook


def patching(bridge, folder: Folder, kind: str) -> dict:
    """The score of each head and neuron, and the faithfulness of each circuit."""
    began, prompts = time.process_time(), folder.discovery
    values = values_of(bridge, folder, prompts, kind)
    whole = float(prompts.difference(bridge(prompts.tokens)))
    changes = changed(bridge, prompts, values)
    scores = {}
    for layer in range(folder.n_layer):
        heads, neurons = places(layer)
        for name, hook, n in ((f"a{layer}.h", heads, folder.n_head),
                              (f"m{layer}.n", neurons, folder.d_mlp)):  # fmt: skip
            scores |= {f"{name}{i}": 0.0 for i in range(n)}
            for i in changes[hook]:
                hooks = [(hook, replacing(values[hook], [i]))]
                found = bridge.run_with_hooks(prompts.tokens, fwd_hooks=hooks)
                scores[f"{name}{i}"] = whole - float(prompts.difference(found))
    seconds = time.process_time() - began
    return method(parts=scores, faithfulness=circuits(bridge, folder, kind), seconds=seconds)


def circuits(bridge, folder: Folder, kind: str) -> list[float]:
    """The faithfulness of the mechanism and of every wrong circuit."""
    prompts = folder.evaluation
    values = values_of(bridge, folder, prompts, kind)

    def run(circuit: dict) -> float:
        hooks = [
            (hook, replacing(values[hook], index))
            for layer, rest in enumerate(folder.rest(circuit))
            for hook, index in zip(places(layer), rest, strict=True)
        ]
        return float(prompts.difference(bridge.run_with_hooks(prompts.tokens, fwd_hooks=hooks)))

    return folder.faithfulness(run, float(prompts.difference(bridge(prompts.tokens))))


def of_edges(edges: Edges, folder: Folder, kind: str) -> dict[str, dict]:
    """EAP, EAP-IG and ACDC; a part counts as much as the strongest edge that it writes."""
    prompts, asked = folder.discovery, folder.evaluation
    other, asked_other = edges.replaced(prompts, kind), edges.replaced(asked, kind)
    searches: dict[str, Callable[[], dict[str, float]]] = {
        "EAP": lambda: gradients(edges, prompts, other, 1),
        "EAP-IG": lambda: gradients(edges, prompts, other, N_STEPS),
    }
    if kind == "interchange":
        searches["ACDC"] = lambda: acdc(edges, prompts, other)
    edges.fill(0.0)
    with torch.no_grad():
        whole = float(asked.difference(edges.run(asked, asked_other)))
    faithfulness = folder.faithfulness(lambda c: circuit_run(edges, c, asked, asked_other), whole)
    found = {}
    for name, search in searches.items():
        began = time.process_time()
        scores = search()
        parts = {source: 0.0 for source in edges.sources if source != "embed"}
        for edge, score in scores.items():
            source = edge.partition(">")[0]
            if source in parts:
                parts[source] = max(parts[source], abs(score))
        seconds = time.process_time() - began
        label = name if kind == "interchange" else f"{name}, {kind}"
        found[label] = method(parts=parts, edges=scores, faithfulness=faithfulness, seconds=seconds)
    return found


def run(folder: Folder) -> dict[str, dict]:
    """All methods on one model."""
    bridge = TransformerBridge.boot_transformers(folder.path, device="cpu")
    with torch.no_grad():
        found = {
            f"patching, {kind}": patching(bridge, folder, kind) for kind in ("interchange", "mean")
        }
    edges = Edges(bridge, folder)
    return found | of_edges(edges, folder, "interchange") | of_edges(edges, folder, "mean")


if __name__ == "__main__":
    main(("transformer-lens", "transformers", "torch"), run)
