#!/usr/bin/env bash
# The integrated gradients of interpreto are something else: no sign, no sum, no baseline.
#
# One would expect: IntegratedGradients multiplies the mean gradient along the path by the
# difference between input and baseline. The scores of all words add up to the difference of
# the logit at the two ends, a word that speaks against the class gets a negative score, and with
# the input itself as the baseline all scores are 0. The class names the paper that asks for this.
# What happens: at each point of the path the gradient is multiplied by the point itself, not by
# the difference, and the absolute value is averaged over the path and the width of the model. All
# scores are positive, they add up to nothing in particular, and the input as its own baseline gets
# scores too. No warning; the arguments and docstrings say nothing of it. GradientShap goes the
# same way.
# Why it matters: words for and against the answer look alike, changes that cancel along the
# path are added up, and a ranking by it can have nothing to do with integrated gradients.
# Seen, nine words: -0.019 to 0.007 by hand, 0.008 to 0.026 by interpreto, with the correlation
# -0.44. Times the width, the sums are -0.51, which is the change of the logit, and 4.96.
# Versions: interpreto 0.5.2, transformers 5.24.0, torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 interpreto==0.5.2 nnsight==0.7.0 \
  transformers==5.24.0 tokenizers==0.23.3 numpy==2.4.6
cat >"$folder/show.py" <<'PY'
from importlib.metadata import version

import torch
import transformers
from interpreto import Granularity, IntegratedGradients
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

print("interpreto", version("interpreto"), "transformers", transformers.__version__)
transformers.logging.set_verbosity_error()
TEXT, WIDTH, LABEL, STEPS = "the film was not very good and very dull", 32, 1, 200
names = ["[PAD]", "[UNK]", *sorted(set(TEXT.split()))]
splitter = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
splitter.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=splitter, pad_token="[PAD]", unk_token="[UNK]"
)
torch.manual_seed(0)
model = BertForSequenceClassification(
    BertConfig(
        vocab_size=len(names), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=16, initializer_range=0.3, num_labels=2,
    )
).eval()
ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
words = model.get_input_embeddings()(ids).detach()


def logit(embedded):
    return model(inputs_embeds=embedded).logits[:, LABEL]


def along_path(baseline):
    """Points and gradients on the straight line from the input to the baseline."""
    share = torch.linspace(0, 1, STEPS).view(-1, 1, 1)
    points = ((1 - share) * words + share * baseline).requires_grad_()
    return points.detach(), torch.autograd.grad(logit(points).sum(), points)[0]


def average(values):
    return torch.trapezoid(values, dim=0) / (STEPS - 1)


def by_library(baseline):
    method = IntegratedGradients(
        model, tokenizer, granularity=Granularity.TOKEN, n_perturbations=STEPS, baseline=baseline,
        device=torch.device("cpu"),
    )
    return method.explain(TEXT, targets=LABEL)[0].attributions[0]


def shown(values):
    return [round(value, 3) for value in values.tolist()]


zeros = torch.full_like(words, 1e-6)  # what the library takes when it is given no baseline
points, gradients = along_path(zeros)
by_hand = ((words - zeros)[0] * average(gradients)).sum(-1)
change = (logit(words) - logit(zeros)).item()
library = by_library(None)
print("words:", TEXT)
print("by hand, divided by the width:", shown(by_hand / WIDTH))
print("interpreto:                   ", shown(library))
print(f"change of the logit {change:.3f}, sum by hand {by_hand.sum().item():.3f}, "
      f"sum by interpreto, times the width, {WIDTH * library.sum().item():.3f}")
agreement = torch.corrcoef(torch.stack([by_hand, library]))[0, 1].item()
print(f"correlation of the two {agreement:.2f}")
assert abs(by_hand.sum().item() - change) < 0.01 and by_hand.min() < -0.1 < 0.1 < by_hand.max()
assert library.min() > 0 and WIDTH * library.sum() > 5 * abs(change) and agreement < 0.5
assert torch.allclose(library, average((points * gradients).abs().mean(-1)), rtol=1e-3)

own = by_library(words[0].clone())
print("the input as its own baseline:", shown(own))
assert own.min() > 0.001
PY
HF_HUB_OFFLINE=1 "$folder/env/bin/python" -W ignore "$folder/show.py" 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }
