"""Laws of weight sparsity and the two schedules, against numbers worked out by hand."""

import pytest
import torch
from tiny import OPTIONS, tiny_model

from circuitkit.training.schedule import l0_fraction_at, lr_at
from circuitkit.training.train_config import OptimizerConfig, SparsityConfig
from circuitkit.training.weight_sparsity import keep_mask, l0_fraction, project, sparse_parameters

DENSE = ("ln_", "wpe", "sink_logit", "bigram_table")


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("step", "fraction"), [(0, 1.0), (25, 0.7), (50, 0.4), (100, 0.4), (1000, 0.4)]
)
def test_the_l0_fraction_falls_linearly_and_stays(step, fraction):
    """From dense to 0.4 over the first half of 100 steps."""
    config = SparsityConfig(l0_fraction=0.4, anneal_until=0.5)
    assert l0_fraction_at(step, 100, config) == pytest.approx(fraction)


def test_a_dense_run_stays_dense():
    """At every step."""
    assert {l0_fraction_at(step, 10, SparsityConfig()) for step in range(11)} == {1.0}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.8 * 0.1 * 1.0),  # one tenth of the warm-up of ten steps
        (4, 0.8 * 0.5 * 0.96),
        (9, 0.8 * 1.0 * 0.91),
        (50, 0.8 * 1.0 * 0.5),
        (99, 0.8 * 1.0 * 0.01),
    ],
)
def test_the_learning_rate_warms_up_and_decays(step, expected):
    """Linearly both times; the sharkfin multiplies by 1/√(L0 fraction)."""
    optimizer = OptimizerConfig(lr=0.8, warmup=0.1)
    assert lr_at(step, 100, optimizer, 1.0) == pytest.approx(expected)
    assert lr_at(step, 100, optimizer, 1 / 16) == pytest.approx(4 * expected)
    plain = OptimizerConfig(lr=0.8, warmup=0.1, sharkfin=False)
    assert lr_at(step, 100, plain, 1 / 16) == pytest.approx(expected)


def test_the_learning_rate_without_warm_up_starts_at_its_height():
    """Warm-up 0 is none."""
    assert lr_at(0, 100, OptimizerConfig(lr=0.5, warmup=0.0), 1.0) == 0.5


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_exactly_the_largest_stay(share, seed):
    """Without protection: as many as the share asks for, none smaller than one that goes."""
    weight = random(20, 30, seed=seed)
    keep = keep_mask(weight, share, 0, 0)
    assert int(keep.sum()) == round(share * 600)
    assert weight.abs()[keep].min() > weight.abs()[~keep].max()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("share", [0.02, 0.2, 0.4])
def test_every_neuron_keeps_its_j_largest(axis, share):
    """In every slice; the budget is met exactly unless protection alone exceeds it."""
    weight = random(20, 30) * torch.linspace(0.01, 1, 20)[:, None] * torch.linspace(0.01, 1, 30)
    keep = keep_mask(weight, share, 4, axis)
    by_neuron = keep if axis == 0 else keep.T
    magnitude = weight.abs() if axis == 0 else weight.abs().T
    assert by_neuron.sum(1).min() >= 4
    largest = magnitude.topk(4, 1).indices
    assert by_neuron.gather(1, largest).all()
    assert int(keep.sum()) == max(round(share * 600), 4 * weight.shape[axis])


def test_a_neuron_narrower_than_j_keeps_all_it_has():
    """Three weights cannot be four."""
    assert keep_mask(random(5, 3), 0.01, 4, 0).all()


def test_equal_magnitudes_do_not_exceed_the_budget():
    """A tie is broken, not kept whole."""
    assert int(keep_mask(torch.ones(10, 10), 0.25, 0, 0).sum()) == 25


def test_the_mask_of_a_vector_keeps_its_share():
    """Biases are sparsified as matrices are, and keep at least one."""
    assert int(keep_mask(random(40), 0.25, 0, 0).sum()) == 10
    assert int(keep_mask(random(40), 0.001, 0, 0).sum()) == 1


@pytest.mark.parametrize("option", ["the paper's", "concatenated positions", "tied", "layernorm"])
def test_embeddings_and_biases_are_sparse_norms_sinks_and_bigrams_dense(option):
    """Every parameter is one or the other, and only the sparse ones change."""
    model = tiny_model(option)
    before = {name: p.clone() for name, p in model.named_parameters()}
    sparse = dict(sparse_parameters(model))
    project(model, 0.3, 0)
    for name, parameter in model.named_parameters():
        assert (name in sparse) != any(word in name for word in DENSE)
        if name in sparse:
            assert int(parameter.count_nonzero()) == round(0.3 * parameter.numel())
            assert torch.equal(parameter, before[name] * (parameter != 0))
        else:
            assert torch.equal(parameter, before[name])
    assert {"final_logits_bias", "transformer.wte.weight"} <= set(sparse)


@pytest.mark.parametrize("option", OPTIONS)
def test_no_neuron_or_attention_channel_is_left_with_fewer_than_j(option):
    """It reads through rows of c_fc and c_attn, and writes through columns of both c_proj."""
    model = tiny_model(option)
    project(model, 0.05, 3)
    for layer in model.transformer.h:
        for rows in (layer.attn.c_attn.weight, layer.mlp.c_fc.weight):
            assert rows.count_nonzero(1).min() >= 3
        for columns in (layer.attn.c_proj.weight, layer.mlp.c_proj.weight):
            assert columns.count_nonzero(0).min() >= 3


def test_the_residual_side_is_not_protected():
    """A planted fault of the public replication: rows of c_proj may be empty."""
    model = tiny_model(d_mlp=3)
    project(model, 0.01, 1)
    assert model.transformer.h[0].mlp.c_proj.weight.count_nonzero(1).min() == 0


def test_a_fraction_of_one_changes_nothing():
    """And the fraction of a projected model is the one asked for."""
    model = tiny_model("bigram table")
    before = {name: p.clone() for name, p in model.named_parameters()}
    project(model, 1.0, 4)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert l0_fraction(model) == 1.0
    project(model, 0.25, 0)
    assert l0_fraction(model) == pytest.approx(0.25, abs=0.01)


def test_projecting_twice_is_projecting_once():
    """The largest of the largest are the largest."""
    model = tiny_model()
    project(model, 0.3, 2)
    before = {name: p.clone() for name, p in model.named_parameters()}
    project(model, 0.3, 2)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
