#!/usr/bin/env bash
# The hidden states that transformers returns for an ablated run are those of before the
# ablation, if the model was asked for hidden states once before the hook was set.
#
# One would expect: with output_hidden_states=True, entry k+1 is what block k hands to the
# next block, a forward hook on the block included, whatever was run earlier.
# What happens: the first call that asks for hidden states or attention weights leaves
# forward hooks of the library's own in the blocks. Hooks of a module run in the order in
# which they were set. A hook that was set before that call is seen in hidden_states and
# attentions; the same hook set after it acts on the logits and on all later blocks, but
# the entry of its own block shows the value from before it. prepend=True makes it seen.
# Why it matters: the usual order is a clean run first and the ablated one after it. At the
# hooked block the two then look equal, so that "the patch did not arrive" or "this block
# does not respond" is read from it, and a lens or probe there works on activations that
# the model did not use. The same cells of a notebook in another order give another answer.
# Seen: after a clean run the entry of the hooked block differs by 5.5 from what the next block
# got and is equal to the clean run's, and attention weights set to 0 read 1.0.
# Versions: transformers 5.24.0, torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 transformers==5.24.0 \
  tokenizers==0.23.3 numpy==2.4.6
cat >"$folder/show.py" <<'PY'
import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

print("transformers", transformers.__version__, "torch", torch.__version__)
torch.set_grad_enabled(False)
WIDTH, BLOCK = 32, 1


def build(kind):
    torch.manual_seed(0)
    if kind == "GPT-2":
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=50, n_positions=16, n_embd=WIDTH, n_layer=3, n_head=4,
                initializer_range=0.2, bos_token_id=0, eos_token_id=0,
            )
        ).eval()
        blocks, attentions = model.transformer.h, [b.attn for b in model.transformer.h]
    else:
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=50, hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=3,
                num_attention_heads=4, initializer_range=0.2,
            )
        ).eval()
        blocks, attentions = model.model.layers, [b.self_attn for b in model.model.layers]
    model.set_attn_implementation("eager")
    return model, blocks, attentions


tokens = torch.randint(2, 50, (2, 7), generator=torch.Generator().manual_seed(1))
vector = 2 * torch.randn(WIDTH, generator=torch.Generator().manual_seed(2))


def run(kind, clean_run_first, prepend=False):
    model, blocks, attentions = build(kind)
    clean = build(kind)[0](tokens, output_hidden_states=True)
    if clean_run_first:
        model(tokens, output_hidden_states=True, output_attentions=True)
    blocks[BLOCK].register_forward_hook(lambda module, args, out: out + vector, prepend=prepend)
    attentions[BLOCK].register_forward_hook(
        lambda module, args, out: (out[0], torch.zeros_like(out[1])), prepend=prepend
    )
    received = []
    blocks[BLOCK + 1].register_forward_pre_hook(lambda module, args: received.append(args[0]))
    out = model(tokens, output_hidden_states=True, output_attentions=True)
    return {
        "logits": out.logits,
        "later": out.hidden_states[BLOCK + 2],
        "off": (out.hidden_states[BLOCK + 1] - received[0]).abs().max().item(),
        "as clean": torch.equal(out.hidden_states[BLOCK + 1], clean.hidden_states[BLOCK + 1]),
        "weights": out.attentions[BLOCK].abs().max().item(),
    }


for kind in ("GPT-2", "Llama"):
    first = run(kind, clean_run_first=False)
    after = run(kind, clean_run_first=True)
    front = run(kind, clean_run_first=True, prepend=True)
    for name, seen in (
        ("hook before any such call", first), ("hook after a clean run", after),
        ("the same with prepend", front),
    ):
        print(
            f"{kind}, {name}: recorded differs from what the next block got by {seen['off']:.4f}, "
            f"equal to the clean run: {seen['as clean']}, "
            f"largest attention weight (set to 0 by a hook): {seen['weights']:.1f}"
        )
    assert torch.equal(first["logits"], after["logits"])
    assert torch.equal(first["later"], after["later"])
    assert first["off"] == 0 and not first["as clean"] and first["weights"] == 0
    assert after["off"] > 1 and after["as clean"] and after["weights"] > 0.5
    assert front["off"] == 0 and not front["as clean"] and front["weights"] == 0
PY
HF_HUB_OFFLINE=1 "$folder/env/bin/python" -W error::UserWarning "$folder/show.py"
