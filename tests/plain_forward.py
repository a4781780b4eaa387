"""Forward passes written from the papers and the files, with none of circuitkit's code.

In: the tensors of a foreign file under their own names, and its config. Out: logits.
"""

import math

import torch


def released_logits(config, w, tokens):
    """The public release of Gao et al. 2025 (``beeg_config.json``), one prompt: (seq, vocab)."""
    A, n_head = config["n_head"] * config["d_head"], config["n_head"]
    T, concatenated = len(tokens), config["d_pos_emb"] is not None
    places = config["afrac_loctypes"].split(",") if config["afrac"] is not None else []

    def norm(x, name):
        g = w[f"transformer.{name}.weight"]
        if config["rms_norm"]:
            return x / (x.pow(2).mean(-1, keepdim=True) + 1.1920929e-07).sqrt() * g
        x = x - x.mean(-1, keepdim=True)
        return (
            x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * g + w[f"transformer.{name}.bias"]
        )

    def linear(x, name):
        bias = w[f"transformer.{name}.bias"] if config["bias"] else 0
        return x @ w[f"transformer.{name}.weight"].T + bias

    def topk(x, place):
        if place not in places:
            return x
        kept = (
            x.abs().sort(dim=-1, descending=True).indices[..., : int(config["afrac"] * x.shape[-1])]
        )
        return x * torch.zeros_like(x).scatter(-1, kept, 1.0)

    def activation(x):
        gelu = 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
        return gelu if config["activation_type"] == "gelu" else x.clamp(min=0)

    x, p = w["transformer.wte.weight"][tokens], w["transformer.wpe.weight"][:T]
    if not concatenated:
        x = x + p
    for i in range(config["n_layer"]):
        a = norm(x, f"h.{i}.ln_1")
        if concatenated:
            a = torch.cat([a, norm(p, f"h.{i}.ln_p1")], -1)
        parts = linear(topk(a, "attn_in"), f"h.{i}.attn.c_attn").split(A, -1)
        q, k, v = (topk(part, f"attn_{n}") for n, part in zip("qkv", parts, strict=True))
        heads = []
        for h in range(n_head):
            at = slice(h * config["d_head"], (h + 1) * config["d_head"])
            heads.append(head(q[:, at], k[:, at], v[:, at], sink(config, w, i, h)))
        x = x + topk(linear(torch.cat(heads, -1), f"h.{i}.attn.c_proj"), "attn_out")
        m = norm(x, f"h.{i}.ln_2")
        if concatenated:
            m = torch.cat([m, norm(p, f"h.{i}.ln_p2")], -1)
        n = topk(activation(linear(topk(m, "mlp_in"), f"h.{i}.mlp.c_fc")), "mlp_neuron")
        x = x + topk(linear(n, f"h.{i}.mlp.c_proj"), "mlp_out")
    head_name = "transformer.wte.weight" if config["tied_unembed"] else "lm_head.weight"
    logits = norm(x, "ln_f") @ w[head_name].T + w.get("final_logits_bias", 0)
    return logits + w["bigram_table"][tokens] if config["enable_bigram_table"] else logits


def sink(config, w, layer, head):
    return w[f"transformer.h.{layer}.attn.attn_imp.sink_logit"][head] if config["sink"] else None


def head(q, k, v, sink_logit):
    """Causal softmax attention, position by position; a sink takes its share and gives nothing."""
    rows = []
    for t in range(len(q)):
        scores = k[: t + 1] @ q[t] / math.sqrt(q.shape[1])
        shares = scores if sink_logit is None else torch.cat([scores, sink_logit[None]])
        rows.append(shares.softmax(0)[: t + 1] @ v[: t + 1])
    return torch.stack(rows)


def gpt2_logits(config, w, tokens):
    """GPT-2, of tensors under the names of ``transformers`` with their prefix: (seq, vocab)."""
    d, T = config["n_embd"], len(tokens)
    size = d // config["n_head"]

    def norm(x, name):
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.pow(2).mean(-1, keepdim=True) + config["layer_norm_epsilon"]).sqrt()
        return x * w[f"transformer.{name}.weight"] + w[f"transformer.{name}.bias"]

    def conv(x, name):  # stored (in, out)
        return x @ w[f"transformer.{name}.weight"] + w[f"transformer.{name}.bias"]

    activation = {
        "gelu_new": lambda x: (
            0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        ),
        "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
        "relu": lambda x: x.clamp(min=0),
    }[config["activation_function"]]
    x = w["transformer.wte.weight"][tokens] + w["transformer.wpe.weight"][:T]
    for i in range(config["n_layer"]):
        q, k, v = conv(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn").split(d, -1)
        at = [slice(h * size, (h + 1) * size) for h in range(config["n_head"])]
        y = torch.cat([head(q[:, s], k[:, s], v[:, s], None) for s in at], -1)
        x = x + conv(y, f"h.{i}.attn.c_proj")
        x = x + conv(
            activation(conv(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")), f"h.{i}.mlp.c_proj"
        )
    tied = config["tie_word_embeddings"]
    return norm(x, "ln_f") @ w["transformer.wte.weight" if tied else "lm_head.weight"].T
