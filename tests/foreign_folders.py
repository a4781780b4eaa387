"""Folders in the formats of others, written as others write them: random or planted weights."""

import json

import torch
from safetensors.torch import save_file

GPT2 = {
    "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
    "bos_token_id": 10, "embd_pdrop": 0.1, "eos_token_id": 10, "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 9, "n_embd": 8, "n_head": 2,
    "n_inner": None, "n_layer": 2, "n_positions": 9, "reorder_and_upcast_attn": False,
    "resid_pdrop": 0.1, "scale_attn_by_inverse_layer_idx": False, "scale_attn_weights": True,
    "summary_activation": None, "summary_first_dropout": 0.1, "summary_proj_to_labels": True,
    "summary_type": "cls_index", "summary_use_proj": True, "tie_word_embeddings": True,
    "torch_dtype": "float32", "transformers_version": "4.57.1", "use_cache": True, "vocab_size": 11,
}  # fmt: skip

ADDED = {
    "afrac": None, "afrac_loctypes": "attn_in,attn_out,mlp_in,mlp_out", "activation_type": "gelu",
    "bias": True, "block_size": 9, "d_head": 2, "d_mlp": 32, "d_model": 8, "d_pos_emb": None,
    "dropout": 0.0, "dropout_cat_pos_emb": False, "enable_bigram_table": True, "flash": True,
    "grad_checkpointing": True, "learnable_bigram_table": True, "ln_bias": True, "n_head": 4,
    "n_layer": 2, "residual_activation_type": "identity", "rms_norm": True, "sink": False,
    "sinusoidal_cat_pos_emb": False, "tied_unembed": False, "tokenizer_name": "tinypython_2k",
    "vocab_size": 11,
}  # fmt: skip
"""``csp_yolo1`` in small: positions added, no top-k, no sink."""

CONCATENATED = ADDED | {
    "afrac": 0.25, "sink": True, "d_pos_emb": 3, "d_head": 4,
    "afrac_loctypes": "attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q",
}  # fmt: skip
"""``csp_yolo2`` in small: concatenated positions, a sink, top-k at all eight locations."""


def gpt2_tensors(config, seed=0):
    """Random weights as ``GPT2LMHeadModel`` stores them."""
    d, n = config["n_embd"], config["n_inner"] or 4 * config["n_embd"]
    shapes = {"wte.weight": (config["vocab_size"], d), "wpe.weight": (config["n_positions"], d)}
    for i in range(config["n_layer"]):
        shapes |= {
            f"h.{i}.ln_1.weight": (d,), f"h.{i}.ln_1.bias": (d,),
            f"h.{i}.attn.c_attn.weight": (d, 3 * d), f"h.{i}.attn.c_attn.bias": (3 * d,),
            f"h.{i}.attn.c_proj.weight": (d, d), f"h.{i}.attn.c_proj.bias": (d,),
            f"h.{i}.ln_2.weight": (d,), f"h.{i}.ln_2.bias": (d,),
            f"h.{i}.mlp.c_fc.weight": (d, n), f"h.{i}.mlp.c_fc.bias": (n,),
            f"h.{i}.mlp.c_proj.weight": (n, d), f"h.{i}.mlp.c_proj.bias": (d,),
        }  # fmt: skip
    shapes |= {"ln_f.weight": (d,), "ln_f.bias": (d,)}
    found = {f"transformer.{name}": shape for name, shape in shapes.items()}
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (config["vocab_size"], d)
    return _random(found, seed)


def released_tensors(config, seed=0):
    """Random weights as the release stores them."""
    d, n, V = config["d_model"], config["d_mlp"], config["vocab_size"]
    A, P = config["n_head"] * config["d_head"], config["d_pos_emb"]
    d_in = d + (P or 0)
    shapes = {"wte.weight": (V, d), "wpe.weight": (config["block_size"], P or d)}
    norms = {"ln_f": d}
    for i in range(config["n_layer"]):
        norms |= {f"h.{i}.ln_1": d, f"h.{i}.ln_2": d}
        norms |= {f"h.{i}.ln_p1": P, f"h.{i}.ln_p2": P} if P else {}
        linear = {"attn.c_attn": (3 * A, d_in), "attn.c_proj": (d, A), "mlp.c_fc": (n, d_in),
                  "mlp.c_proj": (d, n)}  # fmt: skip
        shapes |= {f"h.{i}.{name}.weight": shape for name, shape in linear.items()}
        if config["bias"]:
            shapes |= {f"h.{i}.{name}.bias": shape[:1] for name, shape in linear.items()}
        if config["sink"]:
            shapes[f"h.{i}.attn.attn_imp.sink_logit"] = (config["n_head"],)
    for name, width in norms.items():
        shapes |= {f"{name}.weight": (width,)}
        shapes |= {} if config["rms_norm"] else {f"{name}.bias": (width,)}
    found = {f"transformer.{name}": shape for name, shape in shapes.items()}
    found |= {"lm_head.weight": (V, d), "final_logits_bias": (V,)}
    found |= {"bigram_table": (V, V)} if config["enable_bigram_table"] else {}
    tensors = _random(found, seed)
    if config["tied_unembed"]:
        tensors["lm_head.weight"] = tensors["transformer.wte.weight"]
    return tensors


def _random(shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (0.3 if ".ln_" in name else 0.6) * torch.randn(shape, generator=generator)
        + (1.0 if ".ln_" in name and name.endswith("weight") else 0.0)
        for name, shape in shapes.items()
    }


def write_gpt2(folder, config=GPT2, tensors=None, weights="model.safetensors"):
    """A folder as ``save_pretrained`` leaves it; ``weights`` may be torch's own file."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = gpt2_tensors(config) if tensors is None else tensors
    (folder / "config.json").write_text(json.dumps(config))
    if weights.endswith(".bin"):
        torch.save(tensors, folder / weights)
    else:
        save_file(tensors, folder / weights, metadata={"format": "pt"})
    return folder


def write_shards(folder, config=GPT2, tensors=None, kind="safetensors"):
    """The same in two files and an index."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = gpt2_tensors(config) if tensors is None else tensors
    (folder / "config.json").write_text(json.dumps(config))
    stem, end = ("model", "safetensors") if kind == "safetensors" else ("pytorch_model", "bin")
    shard_of = {}
    for k in range(2):
        name = f"{stem}-0000{k + 1}-of-00002.{end}"
        part = {key: tensors[key] for key in [*tensors][k::2]}
        save_file(part, folder / name) if end == "safetensors" else torch.save(part, folder / name)
        shard_of |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": 0}, "weight_map": shard_of}
    (folder / f"{stem}.{end}.index.json").write_text(json.dumps(index))
    return folder


def write_release(folder, config=ADDED, tensors=None):
    """A folder of the public release."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = released_tensors(config) if tensors is None else tensors
    (folder / "beeg_config.json").write_text(json.dumps(config))
    torch.save(tensors, folder / "final_model.pt")
    return folder


def write_port(folder, config=ADDED, tensors=None):
    """A folder of its port for ``transformers``."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = released_tensors(config) if tensors is None else tensors
    extra = {
        "architectures": ["CircuitGPTForCausalLM"], "model_type": "circuitgpt",
        "auto_map": {"AutoConfig": "config.CircuitGPTConfig"}, "dtype": "float32",
        "hidden_size": config["d_model"], "num_attention_heads": config["n_head"],
        "num_hidden_layers": config["n_layer"], "max_position_embeddings": config["block_size"],
        "bigram_table_rank": None, "unembed_rank": None, "is_decoder": True, "use_cache": False,
        "transformers_version": "4.57.1", "bos_token_id": None, "eos_token_id": 10,
        "mup": False, "mup_width_multiplier": None, "afrac_ste": False,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config | extra))
    named = {f"circuit_model.{name}": t.clone() for name, t in tensors.items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def tensors_apart(tensors):
    """Without the tensors that only other names of one are."""
    return {name: t.clone() for name, t in tensors.items()}
