"""Laws of training with bridges: what learns, what is written, what is refused."""

import json

import pytest
import torch
from tiny import tiny_checkpoint
from tiny_run import Stopped, contents, stopping_after, tiny_config

from circuitkit.bridges.bridge_file import dense_checkpoint, read_bridges, read_record
from circuitkit.bridges.bridge_quality import measure_bridges
from circuitkit.checkpoints import load_checkpoint
from circuitkit.errors import MismatchError, UsageError
from circuitkit.training import coupling, load_config, train
from circuitkit.training.coupling import Coupling, coupled
from circuitkit.training.run_state import METRICS
from circuitkit.training.train_config import BridgeConfig

DENSE = ("sparsity.l0_fraction=1.0", "architecture.d_model=24", "architecture.bigram_table=false",
         "name='dense'")  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A configuration, a dense checkpoint of another width, and a bridged run to its end."""
    folder = tmp_path_factory.mktemp("bridged")
    path = tiny_config(folder)
    train(load_config(path, DENSE), folder / "dense")
    before = (folder / "dense" / "model.safetensors").read_bytes()
    config = load_config(path)
    train(config, folder / "run", bridge_to=folder / "dense")
    assert (folder / "dense" / "model.safetensors").read_bytes() == before
    return config, folder / "dense", folder / "run"


def test_a_bridged_run_gives_a_checkpoint_with_its_bridges(made):
    """Bound to both models, and measured on the held-out text."""
    _, dense, run = made
    checkpoint = load_checkpoint(run)
    record = read_record(checkpoint)
    assert record.dense.sha256 == load_checkpoint(dense).sha256
    assert dense_checkpoint(checkpoint, record).path == dense
    assert (record.d_dense, record.topk) == (24, 0.25)
    assert (run / "tokenizer.json").read_bytes() == (dense / "tokenizer.json").read_bytes()
    quality = record.quality
    assert checkpoint.training is not None
    assert quality.sparse_loss_nats == pytest.approx(checkpoint.training["validation_loss_nats"])
    assert checkpoint.training["config"]["bridge"]["dense"]["name"] == "dense"
    bridges = read_bridges(checkpoint)
    assert all(parameter.any() for parameter in bridges.parameters())
    rows = torch.arange(34).view(2, 17)
    again = measure_bridges(
        checkpoint.load_model(), load_checkpoint(dense).load_model(), bridges, rows
    )
    assert len(again.crossings) == len(quality.crossings) == 5


def test_the_metrics_hold_every_crossing(made):
    """Beside the sparse model's own loss, at each validation."""
    _, _, run = made
    rows = [json.loads(line) for line in (run / METRICS).read_text().splitlines()]
    assert [len(row["bridges"]) for row in rows] == [5, 5, 5]
    assert rows[-1]["bridges"][0].keys() >= {"crossing", "nmse_to_sparse", "kl_to_dense_nats"}


@pytest.mark.parametrize("step", [2, 5])
def test_a_bridged_run_stopped_anywhere_resumes_to_the_same_bytes(made, tmp_path, step):
    """Bridges, their moments and the crossings drawn included."""
    config, dense, run = made
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", bridge_to=dense, report=stopping_after(step))
    train(config, tmp_path / "run", bridge_to=dense, resume=True)
    assert contents(tmp_path / "run") == contents(run)


def test_a_configuration_without_bridges_is_written_as_before(made):
    """No key is added: runs begun by an earlier version go on."""
    config, _, _ = made
    assert "bridge" not in json.loads(config.model_dump_json())
    assert coupled(config, None) == (config, None)


def test_hybrid_passes_cross_everywhere_in_turn(made, monkeypatch):
    """The crossing of a step is drawn from the seed and the step, each of them often."""
    config, dense, _ = made
    checkpoint = load_checkpoint(dense)
    bound, _ = coupled(config, checkpoint)
    held = torch.arange(200).numpy().astype("uint16")
    run = Coupling.begun(bound, checkpoint, held, torch.device("cpu"))
    asked = []

    def watched(sparse, model, bridges, rows, crossing):
        asked.append(crossing)
        raise Stopped

    monkeypatch.setattr(coupling, "bridge_losses", watched)
    model = checkpoint.load_model()
    for step in (*range(100), 0):
        with pytest.raises(Stopped):
            run.loss(model, torch.zeros(2, 3, dtype=torch.long), step)
    assert asked[0] == asked[-1]
    assert all(asked.count(crossing) > 8 for crossing in range(5))


def test_a_bridge_section_without_a_dense_checkpoint_is_refused(made, tmp_path):
    """It would train something else."""
    config = made[0].model_copy(update={"bridge": BridgeConfig()})
    with pytest.raises(UsageError, match=r"\[bridge\] section, but no dense .* Add --bridge-to"):
        train(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("architecture.n_layer=3", "its n_layer is 2, not 3"),
        ("architecture.n_ctx=8", "its n_ctx is 16, not 8"),
        ("architecture.vocab_size=300", "its vocab_size is 280, not 300"),
    ],
)
def test_a_dense_checkpoint_of_another_shape_is_refused(made, tmp_path, change, says):
    """Depth, context and vocabulary; widths may differ, as they do here."""
    config = load_config(made[2].parent / "tiny.toml", [change])
    with pytest.raises(MismatchError, match=rf"no bridges can lead .*{says}.*widths may differ"):
        train(config, tmp_path / "run", bridge_to=made[1])


def test_a_dense_checkpoint_without_a_tokenizer_is_refused(made, tmp_path):
    """The sparse model reads the dense one's tokens."""
    arch = made[0].architecture
    folder = tiny_checkpoint(tmp_path / "dense", vocab_size=arch.vocab_size, n_ctx=arch.n_ctx)
    with pytest.raises(MismatchError, match=r"it has no tokenizer"):
        train(made[0], tmp_path / "run", bridge_to=folder)


def test_a_run_goes_on_with_its_own_dense_checkpoint_only(made, tmp_path):
    """Another one makes another configuration."""
    config, dense, run = made
    other = load_config(run.parent / "tiny.toml", [*DENSE, "seed=4"])
    train(other, tmp_path / "other")
    with pytest.raises(UsageError, match="another configuration than the one given"):
        train(config, run, bridge_to=tmp_path / "other", resume=True)
    named = config.model_copy(
        update={"bridge": BridgeConfig(dense=read_record(load_checkpoint(run)).dense)}
    )
    with pytest.raises(MismatchError, match=r"bridge\.dense is dense .*given is dense"):
        train(named, tmp_path / "run", bridge_to=tmp_path / "other")
    assert coupled(named, load_checkpoint(dense))[0] == named
