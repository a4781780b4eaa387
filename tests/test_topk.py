"""Laws of activation top-k: the largest magnitudes stay, everything else is zero."""

import pytest
import torch

from circuitkit.model import activation_topk
from circuitkit.model.activation_topk import keep_largest

SHAPES = [(7,), (1, 1), (5, 12), (2, 3, 33), (4, 0, 6)]


def random(shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_torch(x, n_kept):
    chosen = x.abs().topk(n_kept, -1).indices
    return torch.zeros_like(x).scatter(-1, chosen, x.gather(-1, chosen))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_it_is_torch_topk(shape, dtype):
    """On random input, for every number kept and shape, at any precision without ties."""
    x = random(shape, dtype=torch.float64)
    x = x if dtype != torch.bfloat16 else x.argsort(-1).argsort(-1) - shape[-1] / 2 + 0.25
    x = x.to(dtype)
    for n_kept in range(1, shape[-1] + 1):
        assert torch.equal(keep_largest(x, n_kept), by_torch(x, n_kept))


@pytest.mark.parametrize("n_kept", [1, 5, 16, 63, 64])
def test_exactly_that_many_stay(n_kept):
    """Those that stay keep their value and sign."""
    x = random((50, 64), seed=n_kept)
    kept = keep_largest(x, n_kept)
    assert (kept.count_nonzero(-1) == n_kept).all()
    assert torch.equal(kept[kept != 0], x[kept != 0])


def test_keeping_all_or_more_is_the_vector_itself():
    """Nothing is computed."""
    x = random((3, 4))
    assert keep_largest(x, 4) is x
    assert keep_largest(x, 9) is x


def test_zeros_stay_zeros():
    """A zero vector, and one with fewer nonzeros than are kept."""
    assert not keep_largest(torch.zeros(3, 8), 2).any()
    x = torch.tensor([[0.0, -3.0, 0.0, 0.0]])
    assert torch.equal(keep_largest(x, 2), x)


def test_magnitudes_that_tie_stay_together():
    """Where we differ from torch: no arbitrary choice among equals."""
    assert torch.equal(
        keep_largest(torch.tensor([1.0, -1.0, 0.5]), 1), torch.tensor([1.0, -1.0, 0.0])
    )


def test_the_gradient_flows_through_the_kept_alone():
    """One where kept, zero elsewhere."""
    x = random((4, 9)).requires_grad_()
    kept = keep_largest(x, 3)
    kept.sum().backward()
    assert torch.equal(x.grad, (kept != 0).float())


def test_the_input_is_left_as_it_was():
    """Partitioning works on a copy, also of a slice of something larger."""
    x = random((3, 4, 24))
    before, part = x.clone(), x[..., 8:16]
    assert torch.equal(keep_largest(part, 2), by_torch(part.clone(), 2))
    assert torch.equal(x, before)


@pytest.mark.parametrize("rows", [1, 3, 257])
def test_several_threads_find_what_one_finds(rows, monkeypatch):
    """Also when there are fewer rows than threads."""
    monkeypatch.setattr(activation_topk, "_WORTH_THREADS", 1)
    x = random((rows, 40))
    alone = keep_largest(x, 10)
    torch.set_num_threads(4)
    assert torch.equal(keep_largest(x, 10), alone)
