"""Laws of ``inspect``: nonzeros, dead neurons and kurtosis of models where each is known."""

import time

import pytest
import torch
from tiny import OPTIONS, random_tokens, tiny_checkpoint, tiny_model, tiny_tokenizer, zeroed

from circuitkit.checkpoints import load_checkpoint, save_checkpoint
from circuitkit.checkpoints.inspection import SAMPLE_TOKENS, inspect_checkpoint
from circuitkit.errors import CheckpointError
from circuitkit.model import record_tap
from circuitkit.model.activation_statistics import kurtosis, measure_activity
from circuitkit.nodes import FINAL_RESID, SITE_KINDS, Site


def inspected(folder, model, **saved):
    save_checkpoint(folder, model, name="mine", **saved)
    return inspect_checkpoint(load_checkpoint(folder))


def measured(model, n=6, seed=0):
    return measure_activity(model, random_tokens(model.arch, n, model.arch.n_ctx, seed))


# Kurtosis


def test_kurtosis_of_known_vectors():
    """Equal halves: 1. One channel of n that stands out: n - 2 + 1 / (n - 1). Normal: 3."""
    halves = torch.tensor([[1.0, -1.0] * 8])
    alone = torch.zeros(1, 16)
    alone[0, 3] = 7.0
    normal = torch.randn(1, 200_000, generator=torch.Generator().manual_seed(0))
    assert kurtosis(halves).item() == pytest.approx(1)
    assert kurtosis(alone).item() == pytest.approx(14 + 1 / 15)
    assert kurtosis(normal).item() == pytest.approx(3, abs=0.05)


def test_kurtosis_knows_neither_place_nor_scale():
    """Of a x + b it is that of x; of equal channels there is none."""
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(kurtosis(3 - 100 * x), kurtosis(x), rtol=1e-3)
    assert kurtosis(torch.full((2, 12), 0.1)).isnan().all()


def embedding_only(**rows):
    """A model of zeros but for its embedding: the stream is the embedding throughout."""
    model = zeroed(tiny_model(**rows))
    model.transformer.wte.weight[:] = torch.tensor([1.0, -1.0] * 4)
    return model


def test_a_stream_of_known_kurtosis():
    """Nothing is added: before each layer and at the end it is the embedding's."""
    assert measured(embedding_only()).residual_kurtosis == pytest.approx((1, 1, 1))


def test_tokens_without_a_kurtosis_are_left_out():
    """An empty row of the embedding says nothing; with empty rows alone there is no figure."""
    model = embedding_only()
    model.transformer.wte.weight[:6] = 0
    assert measured(model).residual_kurtosis == pytest.approx((1, 1, 1))
    assert measured(zeroed(tiny_model())).residual_kurtosis == (None, None, None)


def test_what_a_layer_adds_shows_in_the_next_figure():
    """Layer 0 makes one channel stand out: before it 1, behind it 8 - 2 + 1 / 7, nearly."""
    model = embedding_only()
    model.layers[0].mlp.c_proj.bias[2] = 1e4
    before, behind, end = measured(model).residual_kurtosis
    assert before == pytest.approx(1)
    assert behind == pytest.approx(6 + 1 / 7, abs=1e-3)
    assert end == behind


@pytest.mark.parametrize("option", OPTIONS)
def test_the_stream_is_the_one_that_the_model_reads(option):
    """What the tap adds up is, at the end, what stands at ``final_resid``."""
    model, seen = tiny_model(option), {}
    tokens = random_tokens(model.arch, 6, model.arch.n_ctx)
    model.stream(tokens, record_tap(seen))
    stream = model.embed(tokens)[0]
    expected = []
    for layer in range(model.arch.n_layer):
        expected.append(kurtosis(stream).mean().item())
        stream = stream + seen[Site(layer, "attn", "resid_delta")]
        stream = stream + seen[Site(layer, "mlp", "resid_delta")]
    assert torch.equal(stream, seen[FINAL_RESID])
    found = measure_activity(model, tokens).residual_kurtosis
    assert found == pytest.approx((*expected, kurtosis(stream).mean().item()))


# Nonzero activations


@pytest.mark.parametrize("kind", SITE_KINDS)
def test_top_k_at_a_site_shows_in_its_share_alone(kind):
    """Half of the channels there; all elsewhere, but for a GELU that underflows to 0."""
    share = dict(measured(tiny_model(f"top-k {kind}")).nonzero)
    assert list(share) == [*SITE_KINDS, "final_resid"]
    assert share.pop(kind) == 0.5
    assert share.pop("mlp.post_act", 1.0) > 0.99
    assert set(share.values()) == {1.0}


def test_a_sample_in_batches_is_counted_as_in_one():
    """Long samples run a batch at a time: the figures are those of the parts, weighted."""
    model = tiny_model("relu")
    tokens = random_tokens(model.arch, 300, 9)
    whole = measure_activity(model, tokens)
    parts = [measure_activity(model, tokens[:100]), measure_activity(model, tokens[100:])]
    assert whole.n_tokens == 2700
    for kind, share in whole.nonzero.items():
        assert share == pytest.approx((parts[0].nonzero[kind] + 2 * parts[1].nonzero[kind]) / 3)
    for i, value in enumerate(whole.residual_kurtosis):
        of_parts = [part.residual_kurtosis[i] for part in parts]
        assert value == pytest.approx((of_parts[0] + 2 * of_parts[1]) / 3)


# Dead neurons


def neurons(result, count):
    return [layer[count] for layer in result["layers"]]


def test_a_planted_dead_neuron_is_counted(tmp_path):
    """One that reads nothing and has no bias is unwired and silent; others are neither."""
    model = tiny_model()
    model.layers[1].mlp.c_fc.weight[5] = 0
    model.layers[1].mlp.c_fc.bias[5] = 0
    result = inspected(tmp_path / "m", model, reference=random_tokens(model.arch, 4, 9))
    assert neurons(result, "n_unwired") == [0, 1]
    assert neurons(result, "n_silent") == [0, 1]
    assert neurons(result, "n_neurons") == [12, 12]


def test_a_neuron_that_writes_nothing_is_unwired_though_it_fires(tmp_path):
    """So is one that reads nothing but has a bias; one with a weight on either side is not."""
    model = tiny_model()
    mlp = model.layers[0].mlp
    mlp.c_proj.weight[:, 2] = 0
    mlp.c_fc.weight[7] = 0
    mlp.c_fc.bias[7] = 1.0
    mlp.c_proj.weight[1:, 9] = 0
    mlp.c_fc.weight[9, 1:] = 0
    result = inspected(tmp_path / "m", model, reference=random_tokens(model.arch, 4, 9))
    assert neurons(result, "n_unwired") == [2, 0]
    assert neurons(result, "n_silent") == [0, 0]


def test_a_neuron_that_never_fires_is_silent_though_it_is_wired(tmp_path):
    """Under ReLU, with a bias far below; and under top-k, with a bias far above the others'."""
    model = tiny_model("relu")
    model.layers[0].mlp.c_fc.bias[3] = -1e6
    result = inspected(tmp_path / "relu", model, reference=random_tokens(model.arch, 4, 9))
    assert neurons(result, "n_unwired") == [0, 0]
    assert result["layers"][0]["n_silent"] >= 1
    model = tiny_model("top-k mlp.post_act")
    model.layers[1].mlp.c_fc.bias[:6] = 1e6  # top-k keeps six of twelve
    result = inspected(tmp_path / "topk", model, reference=random_tokens(model.arch, 4, 9))
    assert result["layers"][1]["n_silent"] == 6


# Weights


def test_a_dense_model_is_dense_and_a_sparse_one_sparse(tmp_path):
    """The L0 fraction of each matrix is its nonzeros over its size."""
    dense = inspected(tmp_path / "dense", tiny_model())
    assert {matrix["l0_fraction"] for matrix in dense["matrices"]} == {1.0}
    sparse = inspected(tmp_path / "sparse", tiny_model(density=0.2, d_model=64, d_mlp=96))
    for matrix in sparse["matrices"]:
        size = torch.Size(matrix["shape"]).numel()
        assert matrix["l0_fraction"] == matrix["nonzero"] / size
        if size > 1000:
            assert matrix["l0_fraction"] == pytest.approx(0.2, abs=0.05)
    assert dense["n_nonzero"] == dense["n_parameters"]


def test_planted_zeros_are_counted_in_their_matrix_alone(tmp_path):
    """Three of 11 × 8."""
    model = tiny_model()
    model.lm_head.weight[0, :3] = 0
    fractions = {m["name"]: m["l0_fraction"] for m in inspected(tmp_path / "m", model)["matrices"]}
    assert fractions.pop("lm_head.weight") == 85 / 88
    assert set(fractions.values()) == {1.0}


# The sample


def test_without_a_reference_the_figures_of_activations_are_null(tmp_path):
    """With a warning; what the weights alone tell is there."""
    result = inspected(tmp_path / "m", tiny_model(), tokenizer=tiny_tokenizer())
    assert neurons(result, "n_unwired") == [0, 0]
    assert neurons(result, "n_silent") == [None, None]
    missing = ("n_sample_tokens", "nonzero_activations", "residual_kurtosis")
    assert [result[key] for key in missing] == [None, None, None]
    assert result["warnings"] == [
        "no reference.safetensors: silent neurons, nonzero activations and kurtosis are not "
        "measured"
    ]


def test_a_damaged_reference_is_refused(tmp_path):
    """It is no folder without one."""
    folder = tiny_checkpoint(tmp_path / "m")
    (folder / "reference.safetensors").write_bytes(b"\xff" * 99)
    with pytest.raises(CheckpointError, match=r"reference\.safetensors is not a whole safetensors"):
        inspect_checkpoint(load_checkpoint(folder))


def test_the_sample_is_the_beginning_of_the_reference(tmp_path):
    """Whole sequences of at most 16,384 tokens; what comes behind changes nothing."""
    model = tiny_model()
    tokens = random_tokens(model.arch, 2000, 9)
    first = SAMPLE_TOKENS // 9
    whole = inspected(tmp_path / "whole", model, reference=tokens)
    cut = inspected(tmp_path / "cut", model, reference=tokens[:first])
    assert whole["n_sample_tokens"] == first * 9
    assert whole == cut


def test_the_bundled_checkpoint_is_inspected_quickly():
    """Under 5 s, in this process; the figures are those a sparse model has."""
    began = time.monotonic()
    result = inspect_checkpoint(load_checkpoint("tinypython-nano"))
    assert time.monotonic() - began < 5
    assert result["n_sample_tokens"] == SAMPLE_TOKENS
    assert all(value > 3 for value in result["residual_kurtosis"])
    kept = result["architecture"]["activation_topk"]
    assert all(result["nonzero_activations"][kind] <= share for kind, share in kept.items())
    assert neurons(result, "n_unwired") == [0] * len(result["layers"])
