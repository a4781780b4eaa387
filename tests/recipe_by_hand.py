"""The whole recipe written out in numpy, for test_recipe: plain loops, float64.

Only the forward pass is the library's own (test_model has that written out). A
``fault`` plants one of the known slips of other trainers.
"""

from pathlib import Path

import numpy as np
import torch

from circuitkit.training.initialisation import initial_model
from circuitkit.training.shards import batch_windows
from circuitkit.training.train_config import TrainingConfig

FAULTS = ("top-k before the decay", "biases stay dense", "rows of c_proj are protected")


def run_by_hand(config: TrainingConfig, folder: Path, fault: str = "") -> tuple[dict, dict]:
    """The weights and first moments after all steps, learned from a folder's shard."""
    model = initial_model(config)
    w = {name: p.detach().numpy().astype(float) for name, p in model.named_parameters()}
    m, v = ({name: np.zeros_like(t) for name, t in w.items()} for _ in "mv")
    for t in range(1, config.n_steps + 1):
        g = gradients(model, w, rows_of(config, folder, t), config.optimizer.max_grad_rms)
        fraction, lr = schedules(config, t)
        for name, before in list(w.items()):
            decay = 1 - lr * config.optimizer.weight_decay * (before.ndim > 1 and name in g)
            step = lr * adam(config, t, name, m, v, g[name]) if name in g else 0.0
            if fault == "top-k before the decay":
                w[name] = projected(config, name, before - step, fraction, fault) * decay
            else:
                w[name] = projected(config, name, before * decay - step, fraction, fault)
    return w, m


def rows_of(config, folder, t):
    tokens, n_ctx = np.fromfile(folder / "shards" / "train.bin", np.uint16), 16
    starts = batch_windows(len(tokens), n_ctx, config.run.batch_sequences, t - 1, config.seed)
    return torch.from_numpy(np.stack([tokens[i : i + n_ctx + 1] for i in starts]).astype(int))


def schedules(config, t):
    o, s, n = config.optimizer, config.sparsity, config.n_steps
    fraction = 1 - min(1, t / (s.anneal_until * n)) * (1 - s.l0_fraction)
    lr = o.lr * min(1, t / max(o.warmup * n, 1e-9)) * (1 - (t - 1) / n)
    return fraction, lr / np.sqrt(fraction) if o.sharkfin else lr


def adam(config, t, name, m, v, g):
    (b1, b2), eps = config.optimizer.betas, config.optimizer.eps
    m[name] = b1 * m[name] + (1 - b1) * g
    v[name] = b2 * v[name] + (1 - b2) * g**2
    return m[name] / (1 - b1**t) / (np.sqrt(v[name] / (1 - b2**t)) + eps)


def gradients(model, weights, rows, most):
    """Of the mean surprise at each next token, all scaled to an RMS of at most ``most``."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.from_numpy(weights[name]))
    probability = model(rows[:, :-1]).softmax(-1)
    loss = -probability.gather(-1, rows[:, 1:, None]).log().mean()
    trained = {name: p for name, p in model.named_parameters() if not name.endswith("wpe.weight")}
    found = torch.autograd.grad(loss, list(trained.values()))
    g = {name: t.numpy().astype(float) for name, t in zip(trained, found, strict=True)}
    rms = np.sqrt(np.mean(np.concatenate([t.ravel() for t in g.values()]) ** 2))
    return {name: t * min(1.0, most / rms) for name, t in g.items()}


def projected(config, name, w, fraction, fault):
    dense = any(part in name for part in ("ln_", "wpe", "sink_logit", "bigram_table"))
    if fraction == 1 or dense or (fault == "biases stay dense" and w.ndim == 1):
        return w
    axis = 0 if name.endswith(("c_fc.weight", "c_attn.weight")) else None
    if name.endswith("c_proj.weight"):
        axis = 0 if fault == "rows of c_proj are protected" else 1
    return largest(w, fraction, config.sparsity.min_nonzeros, axis)


def largest(w, fraction, j=0, axis=None):
    """``w`` with the j largest of each neuron and then its largest of all, up to the budget."""
    keep = np.zeros(w.shape, bool)
    for neuron in range(w.shape[axis] if axis is not None else 0):
        for other in np.argsort(-abs(w.take(neuron, axis)))[:j]:
            keep[(neuron, other) if axis == 0 else (other, neuron)] = True
    for place in np.argsort(-abs(w), axis=None, kind="stable"):
        if keep.sum() >= max(1, round(fraction * w.size)):
            break
        keep.flat[place] = True
    return w * keep
