"""Laws of the check for mixed devices: what CUDA refuses raises, what CUDA allows does not."""

import pytest
import torch
from second_device import second_device
from test_second_device import everything
from tiny import encoded_pairs, random_tokens, random_values, tiny_model


@pytest.fixture
def card(monkeypatch):
    with second_device(monkeypatch) as device:
        yield device


@pytest.mark.parametrize(
    "mixing",
    [
        lambda there: there + torch.ones(3),
        lambda there: torch.cat([there, torch.zeros(0)]),
        lambda there: torch.ones(3).index_select(0, there.long()),
        lambda there: torch.ones(5)[there.long()],
        lambda there: torch.nn.functional.linear(there, torch.ones(2, 3)),
        lambda there: torch.ones(3).add_(there),
        lambda there: there.index_fill(0, torch.tensor([0]), 1.0),
        lambda there: there.requires_grad_().mul(torch.ones(3)).sum().backward(),
    ],
)  # fmt: skip
def test_a_mix_of_devices_raises(card, mixing):
    with pytest.raises(RuntimeError, match="expected all tensors on one device"):
        mixing(torch.ones(3, device=card))


def test_what_cuda_allows_does_not_raise(card):
    there = torch.arange(3.0, device=card)
    assert (there * torch.tensor(2.0)).tolist() == [0, 2, 4]
    assert there[torch.tensor([2, 0])].tolist() == [2, 0]
    assert there.cpu().numpy().tolist() == [0, 1, 2]
    assert float(there.sum()) == 3


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (lambda there: there.numpy(), TypeError, "numpy"),
        (lambda there: there.cumsum(0), RuntimeError, "deterministic"),
        (
            lambda there: torch.rand(3, device=there.device, generator=torch.Generator()),
            RuntimeError, "'card' generator",
        ),
    ],
)  # fmt: skip
def test_what_a_gpu_does_not_do_raises(card, wrong, error, says):
    with pytest.raises(error, match=says):
        wrong(torch.ones(3, device=card))


@pytest.mark.parametrize(
    "forgotten",
    [
        "circuitkit.compiled.folded_model.placed", "circuitkit.compiled.background.placed",
        "circuitkit.model.encoded_pairs.EncodedPairs.to",
    ],
)  # fmt: skip
def test_a_move_that_is_forgotten_is_caught(card, monkeypatch, forgotten):
    """Each of the places that bring inputs to the model is needed."""
    model = tiny_model().to(card)
    arch = model.arch
    inputs = encoded_pairs(arch, 3), random_values(arch), random_tokens(arch, 5, 6)
    monkeypatch.setattr(forgotten, lambda inputs, device: inputs)
    with pytest.raises(RuntimeError, match="expected all tensors on one device"):
        everything(model, *inputs)
