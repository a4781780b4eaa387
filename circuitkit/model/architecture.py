"""The shape of a transformer: the ``architecture`` of a checkpoint's ``config.json``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from circuitkit.nodes import SITE_KINDS, Site, transformer_sites
from circuitkit.provenance import STRICT

Size = Annotated[int, Field(ge=1, le=2**20)]


class Architecture(BaseModel):
    """Every choice the engine runs: those of Gao et al. 2025, section A.1, and of GPT-2.

    ``norm_eps`` null is ``torch.finfo(dtype).eps``, as in ``torch.nn.RMSNorm``.
    ``activation_topk`` maps a site kind to the fraction of its channels kept, by
    magnitude; a kind that is absent keeps all.

    Raises:
        ValueError: (as pydantic's ``ValidationError``) for sizes or choices that
            contradict each other.

    Examples:
        >>> import circuitkit as ck
        >>> arch = ck.load_checkpoint("tinypython-nano").architecture
        >>> arch.n_layer, arch.d_model, arch.activation_topk["attn.q"]
        (2, 128, 0.25)
    """

    model_config = STRICT
    vocab_size: Size
    n_ctx: Size
    n_layer: Annotated[int, Field(ge=1, le=1000)]
    d_model: Size
    n_head: Size
    d_head: Size
    d_mlp: Size
    norm: Literal["rmsnorm", "layernorm", "none"] = "rmsnorm"
    norm_eps: Annotated[float, Field(gt=0, lt=1)] | None = None
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    bias: bool = True
    positions: Literal["none", "learned", "concatenated"] = "none"
    d_position: Annotated[int, Field(ge=0, le=2**16)] = 0
    attention_sink: bool = False
    bigram_table: bool = False
    tied_unembedding: bool = False
    activation_topk: dict[str, Annotated[float, Field(gt=0, le=1)]] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Architecture:
        unknown = sorted(set(self.activation_topk) - set(SITE_KINDS))
        if unknown:
            known = ", ".join(SITE_KINDS)
            raise ValueError(f"activation_topk names {unknown[0]!r}; expected one of {known}")
        if (self.positions == "concatenated") != (self.d_position > 0):
            raise ValueError("d_position must be positive with concatenated positions, else 0")
        for kind, fraction in self.activation_topk.items():
            if int(fraction * self.width(kind)) < 1:
                raise ValueError(f"activation_topk keeps no channel of {kind}: raise its fraction")
        return self

    def __repr__(self) -> str:
        return (
            f"Architecture({self.n_layer} layers, d_model {self.d_model}, {self.n_head} heads of "
            f"{self.d_head}, d_mlp {self.d_mlp}, {self.vocab_size:,} tokens)"
        )

    @property
    def d_in(self) -> int:
        """Channels read by a block: d_model and the concatenated position channels."""
        return self.d_model + self.d_position

    @property
    def d_attn(self) -> int:
        """Attention channels of a layer: n_head * d_head."""
        return self.n_head * self.d_head

    def width(self, kind: str) -> int:
        """The number of channels at a site of this kind."""
        if kind.endswith("act_in"):
            return self.d_in
        if kind == "mlp.post_act":
            return self.d_mlp
        return self.d_attn if kind in ("attn.q", "attn.k", "attn.v") else self.d_model

    @property
    def widths(self) -> dict[Site, int]:
        """Every site with its number of channels, in the order of the forward pass."""
        return {site: self.width(site.kind) for site in transformer_sites(self.n_layer)}
