"""Tiny models, checkpoints and tasks, made in milliseconds: random weights, any architecture."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer, models

from circuitkit.checkpoints import save_checkpoint
from circuitkit.model import Architecture, EncodedPairs, Transformer, encode_pairs
from circuitkit.nodes import SITE_KINDS, Node, NodeSet
from circuitkit.task import Pair, Prompt

SIZES: dict[str, Any] = {
    "vocab_size": 11, "n_ctx": 9, "n_layer": 2, "d_model": 8, "n_head": 2, "d_head": 4, "d_mlp": 12
}  # fmt: skip

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "layernorm": {"norm": "layernorm", "norm_eps": 1e-5},
    "no norm": {"norm": "none"},
    "large eps": {"norm_eps": 0.1},
    "gelu_tanh": {"activation": "gelu_tanh"},
    "relu": {"activation": "relu"},
    "no bias": {"bias": False},
    "learned positions": {"positions": "learned"},
    "concatenated positions": {"positions": "concatenated", "d_position": 3},
    "sink": {"attention_sink": True},
    "bigram table": {"bigram_table": True},
    "tied": {"tied_unembedding": True},
    "one layer": {"n_layer": 1},
    "three layers": {"n_layer": 3},
    "narrow heads": {"n_head": 5, "d_head": 2},
    **{f"top-k {kind}": {"activation_topk": {kind: 0.5}} for kind in SITE_KINDS},
    "the paper's": {
        "attention_sink": True,
        "bigram_table": True,
        "activation_topk": dict.fromkeys(SITE_KINDS, 0.25),
    },
    "GPT-2's": {
        "norm": "layernorm",
        "norm_eps": 1e-5,
        "activation": "gelu_tanh",
        "positions": "learned",
        "tied_unembedding": True,
    },
    "everything": {
        "norm": "layernorm",
        "positions": "concatenated",
        "d_position": 4,
        "attention_sink": True,
        "bigram_table": True,
        "tied_unembedding": True,
        "activation_topk": dict.fromkeys(SITE_KINDS, 0.5),
    },
}
"""Every architecture key, one at a time and in company."""


def tiny_architecture(option: str = "plain", **changes: Any) -> Architecture:
    return Architecture(**{**SIZES, **OPTIONS[option], **changes})


def tiny_model(
    option: str = "plain", seed: int = 0, density: float = 1.0, **changes: Any
) -> Transformer:
    """Every parameter is random, norms, sinks and biases too; ``density`` of each is nonzero."""
    generator = torch.Generator().manual_seed(seed)
    model = Transformer(tiny_architecture(option, **changes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = torch.randn(parameter.shape, generator=generator) * 0.6
            kept = torch.rand(parameter.shape, generator=generator) < density
            is_norm = ".ln_" in name and name.endswith("weight")
            parameter.copy_(1 + 0.3 * value if is_norm else value * kept)
    return model.requires_grad_(requires_grad=False).eval()


def random_tokens(arch: Architecture, n: int, length: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(arch.vocab_size, (n, length), generator=generator)


def random_values(arch: Architecture, seed: int = 0) -> dict:
    """An ablation value for every node, as unlike the activations as any."""
    generator = torch.Generator().manual_seed(seed + 77)
    return {s: torch.randn(width, generator=generator) for s, width in arch.widths.items()}


def random_nodes(arch: Architecture, share: float, seed: int = 0) -> NodeSet:
    random = Random(f"{seed}:{share}")
    every = NodeSet.full(arch.widths)
    return NodeSet.of((node for node in every if random.random() < share), arch.widths)


def token_pairs(arch: Architecture, n: int = 6, seed: int = 0, n_templates: int = 3) -> list[Pair]:
    """Pairs of token prompts of different lengths, each with one right answer wherever it comes."""
    random = Random(seed)

    def prompt() -> tuple[int, ...]:
        length = random.randint(1, arch.n_ctx)
        return tuple(random.randrange(arch.vocab_size) for _ in range(length))

    found: dict[tuple, Pair] = {}
    rights: dict[tuple, int] = {}
    while len(found) < n:
        a, b = prompt(), prompt()
        right, wrong = random.sample(range(arch.vocab_size), 2)
        fits = rights.setdefault(a, right) == right and rights.setdefault(b, wrong) == wrong
        if a != b and fits:
            sides = Prompt(tokens=a, answer=right), Prompt(tokens=b, answer=wrong)
            found[a, b] = Pair(a=sides[0], b=sides[1], template=f"t{len(found) % n_templates}")
    return list(found.values())


def encoded_pairs(arch: Architecture, n: int = 6, seed: int = 0, **options: Any) -> EncodedPairs:
    pairs = token_pairs(arch, n, seed, **options)
    return encode_pairs(pairs, None, start_token=None, vocab_size=arch.vocab_size, n_ctx=arch.n_ctx)


def tiny_tokenizer(letters: str = "abcdefghij") -> Tokenizer:
    """One token a letter; ``|`` is 0, to start a prompt with."""
    vocab = {letter: i for i, letter in enumerate(f"|{letters}")}
    return Tokenizer(models.BPE(vocab=vocab, merges=[]))


def tiny_checkpoint(
    folder: str | Path, option: str = "plain", *, text: bool = False, seed: int = 0, **changes: Any
) -> Path:
    """A native folder; with ``text`` it has a tokenizer and starts prompts with token 0."""
    model = tiny_model(option, seed, **changes)
    save_checkpoint(
        folder,
        model,
        name="tiny",
        tokenizer=tiny_tokenizer() if text else None,
        start_token=0 if text else None,
        reference=random_tokens(model.arch, 20, model.arch.n_ctx, seed),
        training={"steps": 0},
    )
    return Path(folder)


def token_task(path: Path, arch: Architecture, n: int = 12, seed: int = 0) -> Path:
    """A ``.jsonl`` of token pairs for every split."""
    splits = ("train", "select", "test")
    lines = [
        {
            "a": {"prompt": list(pair.a.tokens or ()), "answer": pair.a.answer},
            "b": {"prompt": list(pair.b.tokens or ()), "answer": pair.b.answer},
            "template": f"{splits[i % 3]}-{pair.template}",
            "split": splits[i % 3],
        }
        for i, pair in enumerate(token_pairs(arch, 3 * n, seed))
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def write_over(path: Path) -> None:
    """Put zeros over the second half of a file, in place."""
    half = path.stat().st_size // 2
    with path.open("r+b") as file:
        file.seek(half)
        file.write(bytes(path.stat().st_size - half))


def zeroed(model: Transformer) -> Transformer:
    """The same model with every weight zero, to write a circuit into by hand."""
    for parameter in model.parameters():
        parameter.zero_()
    return model


def nodes(*names: str) -> NodeSet:
    return NodeSet.of(map(Node.parse, names))


def names(found: Iterable[Node]) -> list[str]:
    return list(map(str, found))
