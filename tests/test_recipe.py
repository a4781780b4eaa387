"""Laws of the recipe: each part of it, and the whole, against one written out in numpy."""

import numpy as np
import pytest
import torch
from recipe_by_hand import FAULTS, run_by_hand
from tiny import random_tokens, tiny_model
from tiny_run import tiny_config
from torch.nn.functional import cross_entropy

from circuitkit.checkpoints.native import read_weights
from circuitkit.nodes import SITE_KINDS
from circuitkit.training import load_config, train
from circuitkit.training.initialisation import initial_model, sinusoids
from circuitkit.training.objective import limit_rms, next_token_loss, validation_loss
from circuitkit.training.run_folder import config_sha256
from circuitkit.training.run_state import load_state
from circuitkit.training.schedule import l0_fraction_at, lr_at
from circuitkit.training.train_config import OptimizerConfig, SparsityConfig
from circuitkit.training.weight_sparsity import sparse_parameters

TOLERANCE = 5e-6
EPS = "optimizer.eps=0.001"
"""Larger than the tiny configuration's, whose first steps magnify rounding."""


@pytest.fixture(scope="module")
def config_path(tmp_path_factory):
    return tiny_config(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def config(config_path):
    return load_config(config_path)


# The whole of it


def largest_difference(a, b):
    return max(float(abs(np.asarray(a[name]) - np.asarray(b[name])).max()) for name in a)


def weights_of(folder, config):
    found = read_weights(folder / "model.safetensors", config.architecture)
    return {name: tensor.numpy() for name, tensor in found.items()}


ALL_TOPK = ", ".join(f'"{kind}" = 0.25' for kind in SITE_KINDS)
ABLATIONS = {
    "the tiny one": (),
    "dense": ("sparsity.l0_fraction=1.0",),
    "annealed to the end": ("sparsity.anneal_until=1.0", "sparsity.l0_fraction=0.05"),
    "no neuron protected": ("sparsity.min_nonzeros=0", "sparsity.l0_fraction=0.02"),
    "every neuron at its j": ("sparsity.l0_fraction=0.02",),
    "no sharkfin": ("optimizer.sharkfin=false",),
    "long warm-up": ("optimizer.warmup=0.7",),
    "no warm-up": ("optimizer.warmup=0.0",),
    "no decay": ("optimizer.weight_decay=0.0",),
    "strong decay": ("optimizer.weight_decay=5.0",),
    "small gradients": ("optimizer.max_grad_rms=1e-4",),
    "other moments": ("optimizer.betas=[0.5, 0.6]",),
    "no sink": ("architecture.attention_sink=false",),
    "no bigram table": ("architecture.bigram_table=false",),
    "no top-k": ("architecture.activation_topk={}",),
    "every top-k": (f"architecture.activation_topk={{{ALL_TOPK}}}",),
    "learned positions": ('architecture.positions="learned"',),
    "concatenated positions": (
        'architecture.positions="concatenated"', "architecture.d_position=4",
    ),
    "tied": ("architecture.tied_unembedding=true",),
    "no biases, layer norm": ("architecture.bias=false", 'architecture.norm="layernorm"'),
}  # fmt: skip
"""Parts of the recipe, each put on or taken off by configuration keys alone."""


@pytest.mark.slow
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_a_run_is_the_recipe_written_out(config_path, tmp_path, ablation):
    """Loss, RMS limit, AdamW with decay first, then the projection; all after six steps."""
    config = load_config(config_path, [EPS, *ABLATIONS[ablation]])
    train(config, tmp_path / "run")
    expected, _ = run_by_hand(config, tmp_path / "run")
    found = weights_of(tmp_path / "run", config)
    assert largest_difference(expected, found) < TOLERANCE
    for name, w in expected.items():
        assert np.array_equal(w != 0, found[name] != 0), name


@pytest.mark.parametrize("fault", FAULTS)
def test_the_recipe_written_out_would_notice(config_path, tmp_path, fault):
    """Planted: the slips of the released trainer and of its replication."""
    keys = ("optimizer.weight_decay=5.0", "sparsity.l0_fraction=0.05")
    config = load_config(config_path, [EPS, *keys])
    train(config, tmp_path / "run")
    wrong, _ = run_by_hand(config, tmp_path / "run", fault)
    assert largest_difference(wrong, weights_of(tmp_path / "run", config)) > 10 * TOLERANCE


def test_gradients_and_moments_stay_dense(config_path, tmp_path):
    """What is zeroed goes on being learned about: its moments are those of every weight."""
    config = load_config(config_path, [EPS])
    train(config, tmp_path / "run")
    _, expected = run_by_hand(config, tmp_path / "run")
    model = initial_model(config)
    optimizer = torch.optim.AdamW(model.parameters())
    load_state(tmp_path / "run", model, optimizer, config_sha256(config))
    for name, parameter in model.named_parameters():
        moment = optimizer.state[parameter]["exp_avg"]
        np.testing.assert_allclose(moment.numpy(), expected[name], atol=1e-5)
    c_fc = model.transformer.h[0].mlp.c_fc.weight
    moment = optimizer.state[c_fc]["exp_avg"]
    assert (moment[c_fc == 0] != 0).float().mean() > 0.9


# Parts of it


def test_the_sharkfin():
    """1 % of warm-up, a line to zero, and 1/√L0, which falls to 1/32 over the first half."""
    n, t = 1000, np.arange(1000)
    fraction = np.clip(1 - (t + 1) / 500 * (1 - 1 / 32), 1 / 32, 1)
    expected = 0.5 * np.clip((t + 1) / 10, 0, 1) * (1 - t / n) / np.sqrt(fraction)
    sparsity, optimizer = SparsityConfig(l0_fraction=1 / 32), OptimizerConfig(lr=0.5)
    found = [lr_at(i, n, optimizer, l0_fraction_at(i + 1, n, sparsity)) for i in range(n)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert int(np.argmax(found)) == 499


def test_the_defaults_are_the_papers():
    """Section A.2: β, weight decay, ε, the limit of the gradient's RMS, warm-up, half, j."""
    o, s = OptimizerConfig(lr=1.0), SparsityConfig()
    assert (*o.betas, o.weight_decay, o.eps, o.max_grad_rms) == (0.9, 0.95, 0.1, 0.1, 1.0)
    assert (o.warmup, o.sharkfin, s.anneal_until, s.min_nonzeros) == (0.01, True, 0.5, 4)


@pytest.mark.parametrize("positions", ["learned", "concatenated"])
def test_position_embeddings_are_never_trained(config_path, tmp_path, positions):
    """Nor made sparse: they end as they began."""
    keys = [f"architecture.positions={positions}"]
    keys += ["architecture.d_position=4"] if positions == "concatenated" else []
    config = load_config(config_path, keys)
    before = dict(initial_model(config).named_parameters())["transformer.wpe.weight"].detach()
    train(config, tmp_path / "run")
    after = weights_of(tmp_path / "run", config)["transformer.wpe.weight"]
    np.testing.assert_array_equal(after, before.numpy())


@pytest.mark.parametrize("width", [1, 5, 16])
def test_concatenated_positions_are_sinusoids(width):
    """At frequencies from 1 to 1/n_ctx, so that looking one back is a rotation of pairs."""
    found, n_pairs = sinusoids(128, width).numpy(), (width + 1) // 2
    frequency = 128.0 ** -(np.arange(n_pairs) / max(1, n_pairs - 1))
    angle = np.arange(128)[:, None] * frequency
    expected = np.hstack([np.cos(angle), np.sin(angle)])[:, :width]
    np.testing.assert_allclose(found, expected, atol=2e-5)
    if width == 16:
        c, s = found[:, :8], found[:, 8:]
        back = np.hstack([c * np.cos(frequency) + s * np.sin(frequency),
                          s * np.cos(frequency) - c * np.sin(frequency)])  # fmt: skip
        np.testing.assert_allclose(back[1:], found[:-1], atol=2e-5)


@pytest.mark.parametrize(
    "option", ["the paper's", "everything", *(f"top-k {kind}" for kind in SITE_KINDS), "sink"]
)
def test_gradients_are_slopes(option):
    """Through top-k at each of the eight locations, the sink and the bigram table."""
    model = tiny_model(option).double().requires_grad_()
    rows = random_tokens(model.arch, 6, model.arch.n_ctx)
    next_token_loss(model, rows).backward()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        along = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        high, low = (loss_beside(model, parameter, h * along, rows) for h in (1e-6, -1e-6))
        slope = (parameter.grad * along).sum().item()
        assert (high - low) / 2e-6 == pytest.approx(slope, rel=1e-4, abs=1e-7)


@torch.no_grad()
def loss_beside(model, parameter, change, rows):
    before = parameter.clone()
    parameter.add_(change)
    loss = next_token_loss(model, rows).item()
    parameter.copy_(before)
    return loss


def test_the_loss_is_the_mean_over_every_next_token(config):
    """Of each row but its first token; over a shard, whatever the batches."""
    model = initial_model(config)
    tokens = np.arange(16 * 70 + 5, dtype=np.uint16) % 280
    rows = torch.from_numpy(tokens[: 16 * 70 + 1].astype(np.int64))
    windows = torch.stack([rows[16 * i : 16 * i + 17] for i in range(70)])
    logits = model(windows[:, :-1])
    expected = cross_entropy(logits.reshape(-1, 280), windows[:, 1:].reshape(-1)).item()
    assert next_token_loss(model, windows).item() == pytest.approx(expected)
    assert validation_loss(model, tokens) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("most", "expected"), [(1e-3, 1e-3), (1e3, 0.5)])
def test_gradients_are_scaled_down_to_the_rms_and_never_up(config, most, expected):
    """All together, by one factor."""
    model = initial_model(config)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, -0.5)
    limit_rms(model, most)
    gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert gradients.square().mean().sqrt().item() == pytest.approx(expected, rel=1e-5)
    assert gradients.unique().numel() == 1


def test_the_first_model_is_a_function_of_the_seed(config):
    """Whatever the global random state; biases start at zero, norms at one."""
    first = initial_model(config).state_dict()
    torch.manual_seed(123)
    second = initial_model(config)
    assert all(torch.equal(first[name], value) for name, value in second.state_dict().items())
    vectors = [p for _, p in sparse_parameters(second) if p.ndim == 1]
    assert not any(vector.any() for vector in vectors)
    assert (first["transformer.ln_f.weight"] == 1).all()
