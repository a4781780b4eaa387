"""Laws of repeatable gradients: the same work gives the same bytes, also on several threads.

A gradient that ``index_put`` adds up has no order on a CPU with two threads, so its last bits
differ from run to run as soon as one place is added to twice. ``embedding`` and
``index_select`` add in order.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import OPTIONS, encoded_pairs, random_tokens, random_values, tiny_model
from tiny_run import Stopped, contents, large_config, stopping_after
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from circuitkit.checkpoints import load_checkpoint
from circuitkit.extraction import PruningConfig, attribute, learn_masks
from circuitkit.extraction.masked_model import gate_gradients
from circuitkit.nodes import NodeSet
from circuitkit.task import load_task
from circuitkit.training import load_config, train
from circuitkit.training.objective import next_token_loss

several_cores = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")


class Unordered(TorchDispatchMode):
    """Notes every ``index_put`` that adds to one place twice."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "index_put" in str(func) and _adds(*args[3:], **(kwargs or {})):
            given = (index for index in args[1] if index is not None)
            places = torch.stack(torch.broadcast_tensors(*given), -1).flatten(0, -2)
            if len(places.unique(dim=0)) < len(places):
                self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def _adds(accumulate=False, **_):
    return accumulate


def test_the_old_form_is_noticed():
    """A table looked up through square brackets, and at places that differ."""
    table = torch.zeros(5, 3, requires_grad=True)
    with Unordered() as unordered:
        table[torch.tensor([1, 2, 4])].sum().backward()
        F.embedding(torch.tensor([1, 2, 1]), table).sum().backward()
        table.index_select(0, torch.tensor([1, 2, 1])).sum().backward()
    assert unordered.found == []
    with unordered:
        table[torch.tensor([1, 2, 1])].sum().backward()
    assert unordered.found


@pytest.mark.parametrize("option", OPTIONS)
def test_no_gradient_in_training_is_added_up_without_order(option):
    """In the weights, of the loss at every position and of the logits at the last alone."""
    model = tiny_model(option).requires_grad_()
    pairs = encoded_pairs(model.arch, 12)
    with Unordered() as unordered:
        next_token_loss(model, random_tokens(model.arch, 4, model.arch.n_ctx)).backward()
        model(pairs.tokens, last=pairs.last).sum().backward()
    assert unordered.found == []


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_no_gradient_in_extraction_is_added_up_without_order(option):
    """In the gates, of the masked model and of the compiled one as it is narrowed."""
    model = tiny_model(option)
    pairs, values = encoded_pairs(model.arch, 12), random_values(model.arch)
    config = PruningConfig(n_steps=12, batch_pairs=6, lr=0.2, given_up=0.05)
    with Unordered() as unordered:
        gate_gradients(model, pairs, NodeSet.full(model.arch.widths), values)
        learn_masks(model, pairs, values, target_loss_nats=0.1, config=config)
    assert unordered.found == []


# On two threads, at a size where both are used


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return load_config(large_config(tmp_path_factory.mktemp("config")))


@pytest.fixture(scope="module")
def straight(config, tmp_path_factory):
    """A run on two threads that nothing interrupted."""
    torch.set_num_threads(2)
    folder = tmp_path_factory.mktemp("straight") / "run"
    train(config, folder)
    torch.set_num_threads(1)
    return folder


@pytest.mark.slow
@several_cores
def test_at_this_size_the_old_form_differs(config, two_threads):
    """Else the tests below would prove nothing. On busy cores it takes many tries."""
    arch, batch = config.architecture, config.run.batch_sequences
    tokens = random_tokens(arch, batch, arch.n_ctx)
    slope = torch.randn(*tokens.shape, arch.vocab_size, generator=torch.Generator().manual_seed(0))

    def gradient(looked_up):
        table = torch.zeros(arch.vocab_size, arch.vocab_size, requires_grad=True)
        (found,) = torch.autograd.grad(looked_up(table), table, slope)
        return found

    first = gradient(lambda table: F.embedding(tokens, table))
    assert all(torch.equal(gradient(lambda t: F.embedding(tokens, t)), first) for _ in range(20))
    assert any(not torch.equal(gradient(lambda t: t[tokens]), first) for _ in range(20_000))


@pytest.mark.usefixtures("two_threads")
def test_two_trainings_with_one_seed_end_in_the_same_bytes(config, straight, tmp_path):
    """Weights, metrics and record."""
    train(config, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(straight)


@pytest.mark.usefixtures("two_threads")
def test_a_stopped_run_resumes_to_the_same_bytes(config, straight, tmp_path):
    """As on one thread."""
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", report=stopping_after(4))
    train(config, tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(straight)


KILLED = """
import os, signal, sys, torch
from circuitkit.training import load_config, train

def report(progress):
    if (progress.stage, progress.done) == ("steps", 3):
        os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(2)
train(load_config(sys.argv[1]), sys.argv[2], report=report)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("two_threads")
def test_a_killed_run_resumes_to_the_same_bytes(config, straight, tmp_path):
    """``kill -9`` after a step that was not saved."""
    path = Path(config.corpus.source.removeprefix("folder:")).with_name("tiny.toml")
    command = [sys.executable, "-c", KILLED, path, tmp_path / "run"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    train(config, tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(straight)


@pytest.mark.usefixtures("two_threads")
def test_gradients_in_the_gates_repeat():
    """Masks, attributions and the gradients under both, on the bundled nano."""
    checkpoint = load_checkpoint("tinypython-nano")
    model, pairs = (
        checkpoint.load_model(),
        checkpoint.encode(load_task("for_while").pairs("train", 4)),
    )
    values = {site: value * 0.05 for site, value in random_values(model.arch).items()}

    def found():
        config = PruningConfig(n_steps=2)
        masks = learn_masks(model, pairs, values, target_loss_nats=0.15, config=config)
        slopes = gate_gradients(model, pairs, NodeSet.full(model.arch.widths), values)
        parts = [slopes, attribute(model, pairs, values).ranks, masks.ranks]
        return torch.cat([tensor for part in parts for tensor in part.values()])

    assert torch.equal(found(), found())
