"""EAP, EAP-IG and ACDC on the edges of a bridge of transformer-lens, by hand.

An edge runs from what a part writes (the embedding, a head, an MLP) to what another reads (the
queries, keys or values of a head, an MLP, the logits). A removed edge carries what its source
writes on the other prompt of the pair, or the mean of what it writes. transformer-lens 4 has no
circuit search of its own.

Sources: Syed et al. 2023 (arXiv 2310.10348), EAP; Hanna et al. 2024 (arXiv 2403.17806), EAP-IG,
here with the edges, not the embeddings, on the way from clean to corrupt; Conmy et al. 2023
(arXiv 2304.14997), ACDC.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from planted_folder import Folder, Prompts
from torch import Tensor

N_STEPS = 20
"""Of the integrated gradients, at the middles of equal steps."""

TAUS = (0.01, 0.1)
"""ACDC removes an edge if the KL divergence, in nats, grows by less than this."""


class Edges:
    """A bridge whose every edge can be replaced, wholly or in part."""

    def __init__(self, bridge, folder: Folder) -> None:
        bridge.set_use_split_qkv_input(True)
        bridge.set_use_attn_result(True)
        bridge.set_use_hook_mlp_in(True)
        self.bridge, self.n_head, self.n_layer = bridge, folder.n_head, folder.n_layer
        layers = range(folder.n_layer)
        blocks = [[f"a{x}.h{h}" for h in range(folder.n_head)] + [f"m{x}"] for x in layers]
        self.sources = ["embed", *(name for block in blocks for name in block)]
        self.masks = {name: torch.zeros(*shape) for name, shape in self._shapes()}
        self.now: list[Tensor] = []
        """What every source wrote in the last run (n, seq, d_model)."""

    def _shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        for layer in range(self.n_layer):
            n = 1 + layer * (self.n_head + 1)
            for place in "qkv":
                yield f"blocks.{layer}.attn.hook_{place}_input", (n, self.n_head)
            yield f"blocks.{layer}.hook_mlp_in", (n + self.n_head,)
        yield "ln_final.hook_in", (1 + self.n_layer * (self.n_head + 1),)

    def names(self) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """Every edge with its place: the hook that reads it, and its index in the mask there."""
        for hook, mask in self.masks.items():
            for place in torch.ones_like(mask).nonzero().tolist():
                yield f"{self.sources[place[0]]}>{_target(hook, place)}", hook, tuple(place)

    def written(self, tokens: Tensor) -> Tensor:
        """What every source writes on some prompts (source, n, seq, d_model)."""
        self.now = []
        with torch.no_grad():
            self.bridge.run_with_hooks(tokens, fwd_hooks=self._readers(self.now))
        return torch.stack(self.now)

    def replaced(self, prompts: Prompts, kind: str) -> Tensor:
        """What a removed edge carries: its source on the other prompt, or its source's mean."""
        if kind == "interchange":
            return self.written(prompts.other)
        now = self.written(prompts.tokens)
        return now[:, prompts.real].mean(1)[:, None, None].expand_as(now)

    def run(self, prompts: Prompts, other: Tensor) -> Tensor:
        """Logits with every edge replaced by as much as its mask says: 0 not, 1 wholly."""
        self.now = now = []

        def mixing(mask: Tensor):
            def hook(value: Tensor, hook) -> Tensor:
                delta = torch.stack(now[: len(mask)]) - other[: len(mask)]
                if mask.ndim == 1:
                    return value - torch.einsum("s,sntd->ntd", mask, delta)
                return value - torch.einsum("sh,sntd->nthd", mask, delta)

            return hook

        hooks = self._readers(now) + [(name, mixing(mask)) for name, mask in self.masks.items()]
        return self.bridge.run_with_hooks(prompts.tokens, fwd_hooks=hooks)

    def _readers(self, now: list[Tensor]) -> list:
        def whole(value: Tensor, hook) -> None:
            now.append(value)

        def by_head(value: Tensor, hook) -> None:
            now.extend(value.unbind(2))

        hooks: list = [("blocks.0.hook_resid_pre", whole)]
        for layer in range(self.n_layer):
            hooks.append((f"blocks.{layer}.attn.hook_result", by_head))
            hooks.append((f"blocks.{layer}.hook_mlp_out", whole))
        return hooks

    def fill(self, value: float, *, learn: bool = False) -> None:
        """Give every mask one value."""
        for name, mask in self.masks.items():
            self.masks[name] = torch.full_like(mask, value).requires_grad_(learn)


def _target(hook: str, place: list[int]) -> str:
    if hook == "ln_final.hook_in":
        return "logits"
    layer = hook.split(".")[1]
    if hook.endswith("mlp_in"):
        return f"m{layer}"
    return f"a{layer}.h{place[1]}.{hook[-len('q_input')]}"


def gradients(edges: Edges, prompts: Prompts, other: Tensor, n_steps: int) -> dict[str, float]:
    """EAP with one step, at the clean run; EAP-IG with more, from there to all edges replaced."""
    sums = {name: torch.zeros_like(mask) for name, mask in edges.masks.items()}
    for step in range(n_steps):
        edges.fill(0.0 if n_steps == 1 else (step + 0.5) / n_steps, learn=True)
        prompts.difference(edges.run(prompts, other)).backward()
        for name, mask in edges.masks.items():
            assert mask.grad is not None
            sums[name] += mask.grad / n_steps
    edges.fill(0.0)
    return {name: float(sums[hook][place]) for name, hook, place in edges.names()}


def acdc(edges: Edges, prompts: Prompts, other: Tensor) -> dict[str, float]:
    """How many thresholds each edge survives, from the logits backwards.

    An edge whose source writes what the edge would carry is removed without a run.
    """
    edges.fill(0.0)
    rows = torch.arange(len(prompts.last))

    def log_probabilities() -> Tensor:
        return edges.run(prompts, other)[rows, prompts.last].log_softmax(-1)

    order = list(reversed(list(edges.names())))
    kept = {name: 0.0 for name, _, _ in order}
    with torch.no_grad():
        for tau in TAUS:
            edges.fill(0.0)
            whole, written, before = log_probabilities(), edges.now, 0.0
            for name, hook, place in order:
                edges.masks[hook][place] = 1.0
                if torch.equal(written[place[0]][prompts.real], other[place[0]][prompts.real]):
                    continue
                found = log_probabilities()
                divergence = float((whole.exp() * (whole - found)).sum(-1).mean())
                if divergence - before >= tau:
                    kept[name] += 1
                    edges.masks[hook][place] = 0.0
                else:
                    written, before = edges.now, divergence
    return kept


def circuit_run(edges: Edges, circuit: dict, prompts: Prompts, other: Tensor) -> float:
    """The logit difference with all edges replaced but those of a circuit."""
    kept = {">".join(edge).replace("positions>", "embed>") for edge in circuit["part_edges"]}
    edges.fill(1.0)
    for name, hook, place in edges.names():
        if name in kept:
            edges.masks[hook][place] = 0.0
    with torch.no_grad():
        return float(prompts.difference(edges.run(prompts, other)))
