"""The transformer: a GPT-2 style decoder with the paper's options.

Tokens flow in, logits out, and a ``Tap`` sees every site on the way. Parameter
names are those of the public release, so that ``state_dict`` is the file format.

Source: Gao et al. 2025, sections 2.1 and A.1, and the released forward pass.
Where we differ: attention runs through ``scaled_dot_product_attention``, with
the sink as one dummy query and key in front whose logit is in an extra head
dimension. That is exact, and twice as fast as the explicit form. A table is looked
up with ``F.embedding``: the gradient of ``table[tokens]`` is not added up in order
when torch has several threads.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from circuitkit.model.activation_topk import keep_largest
from circuitkit.model.architecture import Architecture
from circuitkit.model.taps import Tap
from circuitkit.nodes import FINAL_RESID, Site

ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}


class Norm(nn.Module):
    """RMSNorm, LayerNorm or nothing, over the last axis."""

    def __init__(self, arch: Architecture, width: int) -> None:
        super().__init__()
        self.kind = arch.norm
        self.eps: float | None = arch.norm_eps
        if arch.norm != "none":
            self.weight: nn.Parameter = nn.Parameter(torch.ones(width))
        if arch.norm == "layernorm":
            self.bias: nn.Parameter = nn.Parameter(torch.zeros(width))

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        if self.kind == "none":
            return x
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        if self.kind == "rmsnorm":
            return F.rms_norm(x, self.weight.shape, self.weight, eps)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, eps)

    def size(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch 1"]:
        """The denominator: what a vector is divided by; 1 where there is no norm."""
        if self.kind == "none":
            return torch.ones_like(x[..., :1])
        if self.kind == "layernorm":
            x = x - x.mean(-1, keepdim=True)
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        return (x.square().mean(-1, keepdim=True) + eps).sqrt()


class Sink(nn.Module):
    """One logit a head for attending to nothing; its value is zero."""

    def __init__(self, n_head: int) -> None:
        super().__init__()
        self.sink_logit: nn.Parameter = nn.Parameter(torch.zeros(n_head))


class _Block(nn.Module):
    """What attention and MLP share: top-k and the tap at each of their sites."""

    block: str

    def __init__(self, arch: Architecture, layer: int, block: str) -> None:
        super().__init__()
        places = ("act_in", "q", "k", "v") if block == "attn" else ("act_in", "post_act")
        self.sites: dict[str, Site] = {
            place: Site(layer, block, place)  # pyright: ignore[reportArgumentType]
            for place in (*places, "resid_delta")
        }
        self.n_kept: dict[str, int] = {
            place: int(arch.activation_topk[site.kind] * arch.width(site.kind))
            for place, site in self.sites.items()
            if site.kind in arch.activation_topk
        }

    def visit(self, place: str, x: Tensor, tap: Tap | None) -> Tensor:
        """Activation top-k, then the tap: what flows on from this place."""
        if place in self.n_kept:
            x = keep_largest(x, self.n_kept[place])
        return x if tap is None else tap(self.sites[place], x)


class Attention(_Block):
    """Causal attention; without positions, order comes from the causal mask alone."""

    def __init__(self, arch: Architecture, layer: int) -> None:
        super().__init__(arch, layer, "attn")
        self.n_head: int = arch.n_head
        self.d_head: int = arch.d_head
        self.c_attn: nn.Linear = nn.Linear(arch.d_in, 3 * arch.d_attn, bias=arch.bias)
        self.c_proj: nn.Linear = nn.Linear(arch.d_attn, arch.d_model, bias=arch.bias)
        if arch.attention_sink:
            self.attn_imp: Sink = Sink(arch.n_head)

    def forward(
        self, a: Float[Tensor, "batch seq d_in"], tap: Tap | None
    ) -> Float[Tensor, "batch seq d_model"]:
        a = self.visit("act_in", a, tap)
        parts = zip("qkv", self.c_attn(a).chunk(3, dim=-1), strict=True)
        q, k, v = (self.visit(place, part, tap) for place, part in parts)
        return self.visit("resid_delta", self.c_proj(self.attend(q, k, v)), tap)

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, heads: Int[Tensor, " some"] | None = None
    ) -> Float[Tensor, "batch seq channels"]:
        """Causal softmax attention over ``(batch, seq, channels)`` queries, keys and values.

        The channels are those of all heads, or of the ``heads`` given.
        """
        batch, seq, channels = q.shape
        q, k, v = (t.view(batch, seq, -1, self.d_head).transpose(1, 2) for t in (q, k, v))
        if hasattr(self, "attn_imp"):
            logits = self.attn_imp.sink_logit
            q, k, v = self._with_sink(q, k, v, logits if heads is None else logits[heads])
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.d_head**-0.5)
        y = y[:, :, -seq:, : self.d_head]
        return y.transpose(1, 2).reshape(batch, seq, channels)

    def _with_sink(
        self, q: Tensor, k: Tensor, v: Tensor, logits: Float[Tensor, " head"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Put a dummy position in front whose key reaches each query as the sink logit."""
        n = dummy_channels(q)
        q = F.pad(q, (0, n, 1, 0), value=1.0)  # (batch, head, 1 + seq, d_head + n)
        k, v = F.pad(k, (0, n, 1, 0)), F.pad(v, (0, n, 1, 0))
        at_sink = (logits.to(k.dtype) * self.d_head**0.5)[:, None, None]
        return q, k + F.pad(at_sink, (self.d_head, n - 1, 0, k.shape[2] - 1)), v


def dummy_channels(q: Float[Tensor, "*batch d_head"]) -> int:
    """How many channels to add for a sink: one, and on a GPU three of zeros with it.

    Its kernel that does not hold all scores at once takes multiples of four only.
    """
    return 1 if q.device.type == "cpu" else 4


class MLP(_Block):
    """The neurons of a layer."""

    def __init__(self, arch: Architecture, layer: int) -> None:
        super().__init__(arch, layer, "mlp")
        self.activation: Callable[[Tensor], Tensor] = ACTIVATIONS[arch.activation]
        self.c_fc: nn.Linear = nn.Linear(arch.d_in, arch.d_mlp, bias=arch.bias)
        self.c_proj: nn.Linear = nn.Linear(arch.d_mlp, arch.d_model, bias=arch.bias)

    def forward(
        self, m: Float[Tensor, "batch seq d_in"], tap: Tap | None
    ) -> Float[Tensor, "batch seq d_model"]:
        m = self.visit("act_in", m, tap)
        h = self.visit("post_act", self.activation(self.c_fc(m)), tap)
        return self.visit("resid_delta", self.c_proj(h), tap)


class Layer(nn.Module):
    """Attention, then the MLP, each read through a norm and added to the stream."""

    def __init__(self, arch: Architecture, layer: int) -> None:
        super().__init__()
        self.ln_1: Norm = Norm(arch, arch.d_model)
        self.attn: Attention = Attention(arch, layer)
        self.ln_2: Norm = Norm(arch, arch.d_model)
        self.mlp: MLP = MLP(arch, layer)
        if arch.positions == "concatenated":
            self.ln_p1: Norm = Norm(arch, arch.d_position)
            self.ln_p2: Norm = Norm(arch, arch.d_position)

    def forward(
        self, x: Tensor, positions: Tensor | None, tap: Tap | None, last: Tensor | None = None
    ) -> Float[Tensor, "batch out d_model"]:
        """Given ``last``, only that position of each row goes through the MLP and on."""
        x = x + self.attn(self.read_attention(x, positions), tap)
        if last is not None:
            x = x[torch.arange(len(x), device=x.device), last, None]
            positions = None if positions is None else F.embedding(last[:, None], positions)
        return x + self.mlp(self.read_mlp(x, positions), tap)

    def read_attention(
        self, x: Tensor, positions: Tensor | None
    ) -> Float[Tensor, "batch seq d_in"]:
        """What attention reads: the normed stream and, if concatenated, normed positions."""
        a = self.ln_1(x)
        return a if positions is None else _concatenate(a, self.ln_p1(positions))

    def read_mlp(self, x: Tensor, positions: Tensor | None) -> Float[Tensor, "batch seq d_in"]:
        """What the MLP reads, likewise."""
        m = self.ln_2(x)
        return m if positions is None else _concatenate(m, self.ln_p2(positions))


def _concatenate(a: Tensor, positions: Tensor) -> Tensor:
    return torch.cat([a, positions.expand(*a.shape[:-1], -1)], dim=-1)


class Embedding(nn.Embedding):
    """One vector a token; on the meta device it is not drawn, which would take a second."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


class Body(nn.Module):
    """Embeddings, layers and the final norm; the ``transformer.`` of the names on disk."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.wte: Embedding = Embedding(arch.vocab_size, arch.d_model)
        if arch.positions != "none":
            self.wpe: Embedding = Embedding(arch.n_ctx, arch.d_position or arch.d_model)
        self.h: nn.ModuleList = nn.ModuleList(Layer(arch, layer) for layer in range(arch.n_layer))
        self.ln_f: Norm = Norm(arch, arch.d_model)


class Transformer(nn.Module):
    """A decoder that maps tokens to next-token logits.

    ``model(tokens)`` runs it; ``model(tokens, tap)`` runs it with a tap at each of
    the 8·n_layer + 1 sites. ``last`` asks for the logits
    at one position a row only: ``seq`` is then 1 from the last layer's MLP on.

    Examples:
        >>> import circuitkit as ck
        >>> import torch
        >>> model = ck.load_checkpoint("tinypython-nano").load_model()
        >>> model(torch.tensor([[0, 5, 7]])).shape  # batch, seq, vocab
        torch.Size([1, 3, 512])
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.transformer: Body = Body(arch)
        self.lm_head: nn.Linear = nn.Linear(arch.d_model, arch.vocab_size, bias=False)
        self.final_logits_bias: nn.Parameter = nn.Parameter(torch.zeros(arch.vocab_size))
        if arch.tied_unembedding:
            self.lm_head.weight = self.transformer.wte.weight
        if arch.bigram_table:
            table = torch.zeros(arch.vocab_size, arch.vocab_size)
            self.bigram_table: nn.Parameter = nn.Parameter(table)

    def __repr__(self) -> str:
        return f"Transformer({self.arch!r})"

    @property
    def device(self) -> torch.device:
        """Where the parameters are; tokens are moved there."""
        return self.lm_head.weight.device

    @property
    def layers(self) -> list[Layer]:
        """The layers in order."""
        return list(self.transformer.h)  # pyright: ignore[reportReturnType]

    def forward(
        self,
        tokens: Int[Tensor, "batch seq"],
        tap: Tap | None = None,
        last: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch out vocab"]:
        tokens, last = tokens.to(self.device), None if last is None else last.to(self.device)
        x = self.stream(tokens, tap, last)
        if last is not None:
            tokens = tokens[torch.arange(len(tokens), device=tokens.device), last, None]
        return self.unembed(x, tokens)

    def stream(
        self, tokens: Int[Tensor, "batch seq"], tap: Tap | None, last: Tensor | None = None
    ) -> Float[Tensor, "batch out d_model"]:
        """The residual stream after the last layer: everything but the unembedding."""
        x, positions = self.embed(tokens)
        *early, final = self.layers
        for layer in early:
            x = layer(x, positions, tap)
        x = final(x, positions, tap, last)
        return x if tap is None else tap(FINAL_RESID, x)

    def embed(self, tokens: Int[Tensor, "batch seq"]) -> tuple[Tensor, Tensor | None]:
        """The residual stream before layer 0, and the position channels if concatenated."""
        x = self.transformer.wte(tokens.to(self.device))
        if self.arch.positions == "none":
            return x, None
        p = self.transformer.wpe.weight[: tokens.shape[1]]
        return (x + p, None) if self.arch.positions == "learned" else (x, p)

    def unembed(
        self, x: Float[Tensor, "*batch d_model"], tokens: Int[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch vocab"]:
        """Logits from the final residual stream and the tokens it stands at."""
        logits = self.lm_head(self.transformer.ln_f(x)) + self.final_logits_bias
        if not self.arch.bigram_table:
            return logits
        return logits + F.embedding(tokens, self.bigram_table)
