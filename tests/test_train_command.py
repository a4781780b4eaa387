"""Laws of ``circuitkit train``: a model that is worse than a uniform guess exits 1."""

import math

import pytest
from test_cli import TRAINING, cli

from circuitkit.checkpoints import load_checkpoint
from circuitkit.training import load_config, train

LR = "optimizer.lr=10"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TRAINING)
    return path


def training(config, out, *more):
    return cli("train", config, "--out", out, "--set", "run.n_tokens=3200", "-q", *more)


@pytest.mark.slow
def test_a_model_worse_than_a_uniform_guess_is_exit_code_1(config, tmp_path):
    """With what was measured, what a uniform guess is, and what to do; the checkpoint is there."""
    out = tmp_path / "run"
    ran = training(config, out, "--set", LR, "--json")
    loss = load_checkpoint(out).training["validation_loss_nats"]
    assert loss > math.log(280)
    assert ran.code == 1
    assert f"worse than a uniform guess: validation loss {loss:.2f} nats" in ran.err
    assert "a uniform guess over 280 tokens 5.63 (ln 280)" in ran.err
    assert "sparsity.l0_fraction" in ran.err
    assert ran.json["validation_loss_nats"] == loss
    again = training(config, out, "--set", LR, "--resume")
    assert (again.code, again.err) == (1, ran.err)


@pytest.mark.slow
def test_a_model_that_learned_something_is_exit_code_0(config, tmp_path):
    """And nothing is said."""
    ran = training(config, tmp_path / "run")
    assert load_checkpoint(tmp_path / "run").training["validation_loss_nats"] < math.log(280)
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.slow
def test_in_python_a_bad_model_is_a_model(config, tmp_path):
    """``train`` raises for what went wrong, not for what was learned."""
    loaded = load_config(config, ["run.n_tokens=3200", LR])
    checkpoint = train(loaded, tmp_path / "run")
    assert checkpoint.training["validation_loss_nats"] > math.log(280)
