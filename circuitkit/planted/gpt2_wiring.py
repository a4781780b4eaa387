"""Wire a mechanism as GPT-2 computes: LayerNorm, learned positions, GELU, a tied unembedding.

In: what ``Wiring`` takes. Out: a model of GPT-2's architecture with the same nodes.

- LayerNorm. One channel takes the opposite of all that embeddings and blocks write, so that the
  mean is 0 at every place. Two hold a large constant and its opposite, and two more make the
  variance of every embedding the same; what blocks write is small beside the constants. So the
  norm is one affine map, whose weights undo its scale: a block reads what was written.
- GELU is ``relu`` to float32 accuracy far from 0, so neurons read scaled up and write scaled
  down.
- Tied unembedding. An answer is read from two channels, in which the embeddings of the answer
  tokens are opposite; only the first is ever written, so that the mean cancels. The weights
  of the final norm are 0 at all channels that no answer is read from.

Source: ours (docs/ground-truth.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from circuitkit.errors import UsageError
from circuitkit.model import Architecture
from circuitkit.nodes import FINAL_RESID, Node, Site
from circuitkit.planted.variation import Variation
from circuitkit.planted.wiring import ANGLE, D_HEAD, N_CTX, SHARPNESS, Nodes, Wiring

EPS = 1e-5
HEADS, MLP_RATIO = 8, 4
UNKNOWN, BEGINNING = "<unk>", "<s>"
_CONSTANT = 64.0
_STEEP = 16.0
"""By how much a neuron reads scaled up: at half a unit from its threshold GELU is ``relu``."""

_POSITIONS = ("cos", "sin", "-cos", "-sin")


@dataclass(frozen=True, slots=True, kw_only=True)
class GPT2Variation(Variation):
    """The options of a model in GPT-2's format.

    Raises:
        UsageError: if a value is out of range, or GPT-2 has no such part.
    """

    width: int = 64

    def __post_init__(self) -> None:
        super(GPT2Variation, self).__post_init__()
        if self.sink or self.topk is not None:
            part = "attention sink" if self.sink else "activation top-k"
            raise UsageError(f"GPT-2 has no {part}; leave the option out, or --format gpt2.")
        if self.width < 64 or self.width % HEADS:
            raise UsageError(
                f"width {self.width}: expected a multiple of {HEADS} from 64 to 256 in GPT-2's "
                "format, where some channels are reserved for constants."
            )


class GPT2Wiring(Wiring):
    """A model of GPT-2's architecture under construction; ``finish`` makes the norms even."""

    specials = (UNKNOWN, BEGINNING)

    def __init__(
        self,
        variation: Variation,
        cues: Sequence[str],
        *,
        n_layer: int = 2,
        positions: bool = False,
        norm: Literal["none", "rmsnorm"] = "none",
    ) -> None:
        if norm != "none":
            raise UsageError(
                f"this plan works through {norm}, and GPT-2 has LayerNorm, under which its truth "
                "is another. Plant it without --format gpt2."
            )
        super().__init__(variation, cues, n_layer=n_layer, positions=True)
        self.answers: dict[int, float] = {}
        self.model.lm_head.weight = self.model.transformer.wte.weight
        for sign, name in ((1, "constant"), (-1, "-constant")):
            self.embed_all(name, sign * _CONSTANT)
        self.balances: list[int] = [self.channel(name) for name in ("balance", "even", "-even")]

    @property
    def reserved(self) -> frozenset[int]:
        """The channels that keep the norms even, which nothing is wired to read."""
        names = ("constant", "-constant", *_POSITIONS)
        return frozenset([*map(self.channel, names), *self.balances])

    def _architecture(self, n_layer: int, positions: bool, norm: str) -> Architecture:
        width = self.variation.width
        return Architecture(
            vocab_size=len(self.tokens), n_ctx=N_CTX, n_layer=n_layer, d_model=width,
            n_head=HEADS, d_head=width // HEADS, d_mlp=MLP_RATIO * width, norm="layernorm",
            norm_eps=EPS, activation="gelu_tanh", positions="learned", tied_unembedding=True,
        )  # fmt: skip

    def _wire_positions(self) -> None:
        angles = ANGLE * torch.arange(N_CTX)
        circle = (angles.cos(), angles.sin(), -angles.cos(), -angles.sin())
        for name, values in zip(_POSITIONS, circle, strict=True):
            self.model.transformer.wpe.weight[:, self.channel(name)] = values

    def neuron(
        self, layer: int, reads: Mapping[str, float], writes: Mapping[str, float], bias: float = 0.0
    ) -> Nodes:
        """A neuron that is ``relu(bias + sum of weight * channel)`` but near its threshold."""
        steep = {name: _STEEP * weight for name, weight in reads.items()}
        flat = {name: weight / _STEEP for name, weight in writes.items()}
        return super().neuron(layer, steep, flat, _STEEP * bias)

    def previous_token_head(self, layer: int, read: str, write: str) -> Nodes:
        """A head that copies a channel from the position before, by the angle of positions."""
        head, attn = self._head(layer, 0.0), self.model.layers[layer].attn
        size = math.sqrt(SHARPNESS * math.sqrt(self.arch.d_head / D_HEAD))
        cos, sin = size * math.cos(ANGLE), size * math.sin(ANGLE)
        circle = [self.channel("cos"), self.channel("sin")]
        for part, block in enumerate(([[cos, sin], [-sin, cos]], [[size, 0.0], [0.0, size]])):
            first = part * self.arch.d_attn + head
            attn.c_attn.weight[first : first + 2, circle] = torch.tensor(block)
        found = [Node(Site(layer, "attn", place), head + i) for place in "qk" for i in range(2)]
        found += [Node(Site(layer, "attn", "act_in"), channel) for channel in circle]
        return Nodes(found) | self._values(layer, head, read, write, 1.0)

    def answer(
        self, name: str, first: str, second: str, *, gain: float, middle: float = 0.0
    ) -> Nodes:
        """Read a channel out: logit[first] - logit[second] = gain * (channel - middle)."""
        norm = self.model.transformer.ln_f
        for place, sign in ((name, 0.5), (f"-{name}", -0.5)):
            self.embed(place, {first: sign, second: -sign})
            self.answers[self.channel(place)] = gain
        norm.bias[self.channel(name)] = -gain * middle
        return Nodes([Node(FINAL_RESID, self.channel(name))])

    def finish(self) -> None:
        """Give all embeddings one mean and one variance, and let the norms undo their scale.

        Raises:
            UsageError: if a block reads a channel that answers are read from.
        """
        self._check_answers()
        table, (balance, even, opposite) = self.model.transformer.wte.weight, self.balances
        table[:, balance] = -table.sum(1)
        for layer in self.model.layers:
            for block in (layer.attn, layer.mlp):
                block.c_proj.weight[balance] = -block.c_proj.weight.sum(0)
        power = table.double().square().sum(1)
        table[:, even] = ((power.max() - power) / 2).sqrt().float()
        table[:, opposite] = -table[:, even]
        scale = math.sqrt((float(power.max()) + 2) / self.arch.d_model + EPS)  # 2 of positions
        for layer in self.model.layers:
            layer.ln_1.weight.fill_(scale)
            layer.ln_2.weight.fill_(scale)
        final = self.model.transformer.ln_f.weight
        final.zero_()
        for channel, gain in self.answers.items():
            final[channel] = gain * scale
        final[self.free_channels] = scale * bool(self.variation.noise)

    def _check_answers(self) -> None:
        """The embedding of an answer token stands in these channels wherever it is in a prompt."""
        for layer in self.model.layers:
            for weight in (layer.attn.c_attn.weight, layer.mlp.c_fc.weight):
                if weight[:, list(self.answers)].any():
                    raise UsageError(
                        "this plan reads a channel inside the model that its answers are read "
                        "from. GPT-2's unembedding is tied: an answer token in the prompt would "
                        "write that channel. Plant it without --format gpt2."
                    )
