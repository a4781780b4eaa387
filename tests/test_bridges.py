"""Laws of bridges: what they measure, how they are stored, what they carry over."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import OPTIONS, encoded_pairs, nodes, random_nodes, random_tokens, tiny_model
from tiny_bridged import equal_pair, random_bridges, same, save_pair, unlike_pair

from circuitkit.bridges.bridge_file import dense_checkpoint, read_bridges, read_record
from circuitkit.bridges.bridge_losses import bridge_losses, hybrid_to_dense, hybrid_to_sparse
from circuitkit.bridges.bridge_quality import measure_bridges
from circuitkit.bridges.carry import carry, changed_differences, end_differences, move, node_values
from circuitkit.bridges.crossings import crossing_names, crossing_of, logits_from, streams
from circuitkit.bridges.cue_nodes import cue_nodes
from circuitkit.bridges.perturb_pairs import perturb_pairs
from circuitkit.bridges.same_norm import along_means, mean_differences, rotated, rotations
from circuitkit.checkpoints import convert_checkpoint, load_checkpoint
from circuitkit.checkpoints.native import BRIDGES, WEIGHTS
from circuitkit.errors import CheckpointError, MismatchError
from circuitkit.extraction.masked_model import tapped_differences
from circuitkit.nodes import Site

# Crossings


@pytest.mark.parametrize("option", OPTIONS)
def test_the_pass_from_any_crossing_on_is_the_model(option):
    """Bitwise: the stream there holds all that the rest of the pass reads."""
    model = tiny_model(option)
    tokens = random_tokens(model.arch, 3, 7)
    stream = streams(model, tokens)
    assert len(stream) == len(crossing_names(model.arch.n_layer)) == 2 * model.arch.n_layer + 1
    for crossing, x in enumerate(stream):
        assert torch.equal(logits_from(model, x, tokens, crossing), model(tokens))


def test_crossings_are_named_after_what_reads_there():
    """And a node is carried over where it reads, or where its sublayer writes."""
    assert crossing_names(2) == ("0.attn", "0.mlp", "1.attn", "1.mlp", "final_resid")
    at = {text: crossing_names(2)[crossing_of(Site.parse(text), 2)]
          for text in ("0.attn.act_in", "0.attn.q", "0.attn.resid_delta", "1.mlp.act_in",
                       "1.mlp.post_act", "final_resid")}  # fmt: skip
    assert list(at.values()) == ["0.attn", "0.mlp", "0.mlp", "1.mlp", "final_resid", "final_resid"]


# Losses


@pytest.mark.parametrize("option", ["plain", "concatenated positions", "everything"])
def test_identity_bridges_between_equal_models_lose_nothing(option):
    """Every hybrid pass is the model, bitwise; every error is 0, every divergence 0 to 1e-6."""
    pair = equal_pair(option)
    rows = random_tokens(pair.sparse.arch, 3, 8)
    tokens = rows[:, :-1]
    for crossing, x in enumerate(streams(pair.sparse, tokens)):
        for hybrid, model in ((hybrid_to_sparse, pair.sparse), (hybrid_to_dense, pair.dense)):
            logits = hybrid(model, pair.bridges, x, tokens, crossing)
            assert torch.equal(logits, pair.sparse(tokens))
        losses = bridge_losses(pair.sparse, pair.dense, pair.bridges, rows, crossing)
        assert losses.nmse_to_sparse == losses.nmse_to_dense == 0
        assert max(map(abs, (losses.kl_to_sparse_nats, losses.kl_to_dense_nats))) < 1e-6
    measured = measure_bridges(pair.sparse, pair.dense, pair.bridges, rows)
    assert measured.dense_loss_nats == measured.sparse_loss_nats
    for each in measured.crossings:
        assert each.nmse_to_sparse == each.nmse_to_dense == 0
        assert each.loss_to_sparse_nats == each.loss_to_dense_nats == measured.dense_loss_nats


def test_random_bridges_lose_something_everywhere():
    """The laws above would notice a loss that is always 0; batches are measured as one."""
    pair = unlike_pair()
    rows = random_tokens(pair.sparse.arch, 65, 8).repeat(2, 1)  # each direction runs one half
    measured = measure_bridges(pair.sparse, pair.dense, pair.bridges, rows)
    assert measured.n_tokens == 130 * 7
    whole = [bridge_losses(pair.sparse, pair.dense, pair.bridges, rows, i) for i in range(5)]
    mean = sum(each.nmse_to_sparse for each in measured.crossings) / 5
    assert mean == pytest.approx(float(whole[0].nmse_to_sparse), rel=1e-4)
    for each, losses in zip(measured.crossings, whole, strict=True):
        assert min(each.nmse_to_dense, each.kl_to_dense_nats) > 0.01
        assert each.kl_to_sparse_nats == pytest.approx(float(losses.kl_to_sparse_nats), rel=1e-4)
        assert each.kl_to_dense_nats == pytest.approx(float(losses.kl_to_dense_nats), rel=1e-4)


def test_gradients_reach_the_sparse_model_and_the_bridges_and_not_the_dense_model():
    """Every term moves what it is meant to."""
    pair = unlike_pair()
    pair.sparse.requires_grad_()
    pair.bridges.requires_grad_()
    rows = random_tokens(pair.sparse.arch, 4, 8)
    losses = bridge_losses(pair.sparse, pair.dense, pair.bridges, rows, 2)
    for name in ("nmse_to_dense", "kl_to_dense_nats"):
        grown = torch.autograd.grad(getattr(losses, name), pair.sparse.transformer.wte.weight,
                                    retain_graph=True)  # fmt: skip
        assert grown[0].any(), name
    into = torch.autograd.grad(losses.kl_to_sparse_nats, pair.bridges[2].encoder.weight)
    assert into[0].any()
    assert not any(p.requires_grad for p in pair.dense.parameters())


def test_an_encoder_keeps_the_largest_magnitudes():
    """As many as asked; a decoder's output is dense, and a change leaves out its bias."""
    bridge = random_bridges(8, 6, seed=1)[0]
    with torch.no_grad():
        bridge.decoder.bias.add_(1)
        x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
        assert (bridge.encode(x) != 0).sum(-1).tolist() == [4] * 5
        h = bridge.encode(x)
        assert torch.allclose(bridge.carry(h), bridge.decode(h) - bridge.decode(0 * h), atol=1e-6)


# The file


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    pair = unlike_pair()
    return pair, save_pair(pair, tmp_path_factory.mktemp("pair"))


@pytest.fixture
def copied(saved, tmp_path):
    """A pair of folders of one's own, to damage."""
    return save_pair(saved[0], tmp_path)


def test_bridges_are_read_as_they_were_written(saved):
    """The numbers, and the record of what they join and how well."""
    pair, folder = saved
    checkpoint = load_checkpoint(folder)
    assert same(read_bridges(checkpoint), pair.bridges)
    record = read_record(checkpoint)
    assert (record.dense.name, record.d_dense, record.topk) == ("dense", 6, 0.5)
    assert [each.crossing for each in record.quality.crossings] == list(crossing_names(2))
    assert dense_checkpoint(checkpoint, record).name == "dense"


def rewritten(folder, change):
    """The file with other tensors, its record as it was."""
    with safe_open(folder / BRIDGES, framework="pt") as file:
        about = file.metadata()
    tensors = load_file(folder / BRIDGES)
    change(tensors, about)
    save_file(tensors, folder / BRIDGES, about)


def without_a_crossing(tensors, about):
    for name in [name for name in tensors if name.startswith("1.attn.")]:
        del tensors[name]


def not_finite(tensors, about):
    tensors["0.mlp.decoder.bias"][0] = float("nan")


def one_more(tensors, about):
    tensors["2.attn.encoder.bias"] = torch.zeros(3)


def misshapen(tensors, about):
    tensors["0.attn.encoder.weight"] = torch.zeros(2, 2)


def unknown_key(tensors, about):
    about["circuitkit"] = json.dumps(json.loads(about["circuitkit"]) | {"more": 1})


DAMAGE = (
    (without_a_crossing, r"lacks 4 tensors.*\n.*1\.attn\.encoder\.weight"),
    (not_finite, r"0\.mlp\.decoder\.bias holds NaN or infinite"),
    (one_more, r"holds 1 tensor that .* does not know:\n.*2\.attn\.encoder\.bias"),
    (misshapen, r"0\.attn\.encoder\.weight is \(2, 2\), expected \(8, 6\)"),
    (unknown_key, r"more: Extra inputs are not permitted"),
)


@pytest.mark.parametrize(("change", "says"), DAMAGE)
def test_a_file_that_is_not_these_bridges_is_refused(copied, change, says):
    """With the crossing that is missing, or what else is wrong."""
    rewritten(copied, change)
    with pytest.raises(CheckpointError, match=says):
        read_bridges(load_checkpoint(copied))


def test_half_a_file_is_refused(copied):
    """It is read as no other."""
    data = (copied / BRIDGES).read_bytes()
    (copied / BRIDGES).write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=r"not a whole safetensors file.*interrupted"):
        read_record(load_checkpoint(copied))


def test_a_checkpoint_without_bridges_says_how_to_get_some(copied):
    """By training one."""
    with pytest.raises(CheckpointError, match=r"dense has no bridges: .*--bridge-to CHECKPOINT"):
        read_bridges(load_checkpoint(copied.parent / "dense"))


def test_bridges_of_other_weights_are_refused(copied):
    """The file is bound to the weights beside it."""
    tensors = load_file(copied / WEIGHTS)
    tensors["lm_head.weight"] *= 2
    save_file(tensors, copied / WEIGHTS)
    with pytest.raises(MismatchError, match=r"was made for weights \w{12}…, but the model"):
        read_bridges(load_checkpoint(copied))


def test_another_dense_checkpoint_is_refused(copied):
    """Bridges lead to one dense model, known by its hash; one that is gone is asked for."""
    checkpoint = load_checkpoint(copied)
    record = read_record(checkpoint)
    with pytest.raises(MismatchError, match=r"made for dense checkpoint dense .*given is sparse"):
        dense_checkpoint(checkpoint, record, copied)
    (copied.parent / "dense").rename(copied.parent / "moved")
    with pytest.raises(CheckpointError, match=r"lead to checkpoint dense .*with --dense"):
        dense_checkpoint(checkpoint, record)
    assert dense_checkpoint(checkpoint, record, copied.parent / "moved").name == "dense"


# Carrying


@pytest.mark.parametrize("option", ["plain", "sink", "the paper's", "GPT-2's"])
@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_between_equal_models_the_carried_does_what_the_moved_do(option, strength):
    """Of many nodes too, one after the other: nothing is carried twice."""
    pair = equal_pair(option)
    arch = pair.sparse.arch
    batch = encoded_pairs(arch)
    for chosen in (random_nodes(arch, 0.3), nodes("0.attn.k:3", "final_resid:2")):
        values = node_values(pair.sparse, batch, chosen)
        moved = move(pair.sparse, batch, chosen, values, strength)
        found = changed_differences(
            pair.dense, batch, streams(pair.dense, batch.tokens), carry(pair, moved.changes)
        )
        expected = end_differences(pair.sparse, batch, moved.end)
        assert torch.allclose(found, expected, atol=2e-5)
        own = tapped_differences(pair.sparse, batch, None)
        assert not torch.allclose(found, own, atol=1e-3), "nothing was moved"


def test_strength_0_is_the_model():
    """Bitwise nothing is added, wherever the nodes are."""
    pair = unlike_pair()
    batch = encoded_pairs(pair.sparse.arch)
    chosen = random_nodes(pair.sparse.arch, 0.3)
    moved = move(pair.sparse, batch, chosen, node_values(pair.sparse, batch, chosen), 0.0)
    assert not any(change.any() for change in moved.changes.values())


def test_what_a_write_carries_is_its_own_channel():
    """The difference of the node's two values, on one channel of the next crossing."""
    pair = unlike_pair()
    batch = encoded_pairs(pair.sparse.arch)
    chosen = nodes("0.mlp.resid_delta:5")
    values = node_values(pair.sparse, batch, chosen)
    ((crossing, change),) = move(pair.sparse, batch, chosen, values, 1.0).changes.items()
    site = Site.parse("0.mlp.resid_delta")
    expected = (values.other[site] - values.own[site])[..., 5]
    assert crossing_names(2)[crossing] == "1.attn"
    assert torch.allclose(change[..., 5], expected, atol=1e-6)
    assert not change[..., [0, 1, 2, 3, 4, 6, 7]].any()


def test_controls_are_as_large_as_what_is_carried():
    """At every position: random rotations, and the difference of means, signed by the side."""
    pair = unlike_pair()
    batch = encoded_pairs(pair.sparse.arch)
    generator = torch.Generator().manual_seed(0)
    changes = {2: torch.randn(*batch.tokens.shape, 6, generator=generator)}
    first, again = (next(rotations([2], 6, 1, seed=4)) for _ in range(2))
    assert torch.equal(first[2], again[2])
    turned = rotated(changes, first)[2]
    along = along_means(changes, mean_differences(pair.dense, batch))[2]
    for other in (turned, along):
        assert torch.allclose(other.norm(dim=-1), changes[2].norm(dim=-1), atol=1e-5)
    assert not torch.allclose(turned, changes[2], atol=0.1)
    half = len(batch)
    cosine = torch.nn.functional.cosine_similarity(along[:half], along[half:], dim=-1)
    assert torch.allclose(cosine, -torch.ones_like(cosine), atol=1e-5)


def test_random_rotations_lean_nowhere():
    """Over many, what is turned is on average at right angles to what it was."""
    turns = torch.stack([turn[0] for turn in rotations([0], 6, 2000, seed=3)])
    assert torch.allclose(turns @ turns.mT, torch.eye(6).expand_as(turns), atol=1e-5)
    assert turns.mean(0).abs().max() < 4 / (6 * 2000) ** 0.5
    assert 0.45 < float((turns[:, 0, 0] < 0).float().mean()) < 0.55


def test_a_batch_at_a_time_is_all_at_once():
    """Pairs are run some at a time, and every control is there."""
    pair = unlike_pair()
    batch = encoded_pairs(pair.sparse.arch, n=40)
    found = perturb_pairs(pair, batch, batch, nodes("1.mlp.act_in:2"), strengths=(0.0, 1.0),
                          n_random=3, seed=1)  # fmt: skip
    own = tapped_differences(pair.dense, batch, None)
    assert torch.allclose(found.dense[0], own, atol=1e-5)
    assert torch.allclose(found.sparse[0], tapped_differences(pair.sparse, batch, None), atol=1e-5)
    assert found.random.shape == (3, 80)
    assert found.norm.shape == found.by_means.shape == (80,)
    assert found.norm.any()


def test_cue_nodes_are_those_whose_interchange_moves_the_answer():
    """A node that is the same on both prompts is none; without any, all are."""
    pair = equal_pair()
    arch = pair.sparse.arch
    batch = encoded_pairs(arch)
    chosen = random_nodes(arch, 0.5)
    found = cue_nodes(pair.sparse, batch, chosen)
    assert found <= chosen
    silent = tiny_model()
    silent.lm_head.weight.zero_()
    assert cue_nodes(silent, batch, chosen) == chosen


def test_converting_a_bridged_checkpoint_keeps_its_bridges(tmp_path):
    """And the table of tasks; both are bound to weights that are the same."""
    source = load_checkpoint("tinypython-bridged")
    written = convert_checkpoint(source, tmp_path / "out")
    assert written.sha256 == source.sha256
    for name in ("bridges.safetensors", "competence.json"):
        there = (source.path / name).exists()
        assert (written.path / name).exists() == there
        assert not there or (written.path / name).read_bytes() == (source.path / name).read_bytes()
    assert read_record(written) == read_record(source)
