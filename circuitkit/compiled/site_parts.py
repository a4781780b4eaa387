"""What of a model belongs to a site: its block, its norm, the matrix that is read into it."""

from __future__ import annotations

from torch import Tensor

from circuitkit.model import Transformer
from circuitkit.model.transformer import MLP, Attention, Norm
from circuitkit.nodes import FINAL_RESID, Site


class SiteParts:
    """The parts of a model by site."""

    model: Transformer

    def weight(self, site: Site) -> tuple[Tensor, Tensor | None]:
        """The matrix that is read into this site, and its bias."""
        block = self.block(site)
        if isinstance(block, Attention):
            if site.place == "resid_delta":
                return block.c_proj.weight, block.c_proj.bias
            part = "qkv".index(site.place)
            bias = block.c_attn.bias
            return block.c_attn.weight.chunk(3)[part], None if bias is None else bias.chunk(3)[part]
        linear = block.c_fc if site.place == "post_act" else block.c_proj
        return linear.weight, linear.bias

    def block(self, site: Site) -> Attention | MLP:
        """The block that a site lies in."""
        layer = self.model.layers[site.layer]
        return layer.attn if site.block == "attn" else layer.mlp

    def norm(self, site: Site) -> Norm:
        """The norm through which the stream is read at a site."""
        if site == FINAL_RESID:
            return self.model.transformer.ln_f
        layer = self.model.layers[site.layer]
        return layer.ln_1 if site.block == "attn" else layer.ln_2
