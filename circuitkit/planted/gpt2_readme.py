"""``README.md`` of a folder in GPT-2's format: what it holds, and five lines that run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from circuitkit.planted.planted_model import Planted

_TEXT = """# {name}: a model whose circuit is known

{about}

A GPT-2 of {n_layer} {layers}, wired by hand with `circuitkit plant {name} --format gpt2`. It does \
its task on all {n_pairs} pairs of `task.csv`. In this folder, with transformers alone:

```python
import csv, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model, encode = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".").encode
rows = [[encode(row[c]) for c in ("clean", "answer", "foil")] \
for row in csv.DictReader(open("task.csv"))]
print(sum(bool(model(torch.tensor([x])).logits[0, -1, a + f].diff() < 0) \
for x, a, f in rows) / len(rows))
```

It prints 1.0: on every clean prompt the answer has a larger logit than the foil. On the corrupt \
prompt the foil is the right answer.

Prompts have no beginning token. transformer-lens puts one before text: give \
`prepend_bos=False`, or token ids. (The model does the task with `<s>` in front too, but \
`truth.json` was found without.)

| file | content |
|---|---|
| `config.json`, `model.safetensors` | the model, as `save_pretrained` writes it |
| `tokenizer.json`, `tokenizer_config.json` | one token a word; `<s>` begins, `<unk>` is any \
other word |
| `task.csv` | `clean` and `corrupt` prompt; `answer` is right after the first, `foil` after the \
second; `template` and `split` (train, select, test) |
| `reference.safetensors` | the token ids over which circuitkit measures means |
| `truth.json` | the smallest circuits and the mechanism, in nodes, heads, MLPs and edges; wrong \
circuits and why; hashes of the files |
"""


def readme(planted: Planted, n_pairs: int) -> str:
    """The text for a planted model with so many pairs."""
    n_layer = planted.model.arch.n_layer
    return _TEXT.format(
        name=planted.name, about=planted.about, n_layer=n_layer,
        layers="layer" if n_layer == 1 else "layers", n_pairs=n_pairs,
    )  # fmt: skip
