"""Laws of the fast training step: a plain one does the same, and rounding costs little."""

import importlib.util
from pathlib import Path

import pytest
import torch
from tiny import random_tokens, tiny_model
from torch.nn import functional as F

from circuitkit.training.matmul import bfloat16_matmuls, faster_in_bfloat16
from circuitkit.training.objective import next_token_loss

PLAIN = Path(__file__).parent / "benchmarks" / "plain_trainer.py"


@pytest.fixture(scope="module")
def plain():
    spec = importlib.util.spec_from_file_location("plain_trainer", PLAIN)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gradients(loss, model):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("seed", range(3))
def test_the_plain_trainer_has_our_loss_and_gradients(plain, seed):
    """So that the benchmark compares speed alone."""
    model = tiny_model("the paper's", seed, d_model=16, d_mlp=32).requires_grad_()
    rows = random_tokens(model.arch, 4, 9, seed)
    ours = next_token_loss(model, rows)
    theirs = plain.loss(dict(model.named_parameters()), rows, model.arch)
    assert theirs.item() == pytest.approx(ours.item(), abs=1e-5)
    for (name, a), b in zip(
        gradients(ours, model).items(), gradients(theirs, model).values(), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("bias", [False, True])
def test_a_product_in_bfloat16_is_the_product_of_rounded_operands(bias):
    """Forward and backward, and float32 comes back."""
    generator = torch.Generator().manual_seed(0)
    x, w, g = (torch.randn(*shape, generator=generator) for shape in ((2, 5, 8), (3, 8), (2, 5, 3)))
    b = torch.randn(3, generator=generator) if bias else None
    operands = [t.requires_grad_() for t in (x, w, b) if t is not None]
    with bfloat16_matmuls():
        y = F.linear(*operands)
    dx, dw, *db = torch.autograd.grad(y, operands, g)
    x16, w16, g16 = (t.detach().bfloat16().double() for t in (x, w, g))
    expected = x16 @ w16.T + (0 if b is None else b.detach().double())
    near = {"atol": 1e-6, "rtol": 2**-7}
    torch.testing.assert_close(y.double(), expected, atol=0.05, rtol=2**-7)
    torch.testing.assert_close(dx.double(), g16 @ w16, **near)
    torch.testing.assert_close(dw.double(), g16.flatten(0, 1).T @ x16.flatten(0, 1), **near)
    assert all(t.dtype == torch.float32 for t in (y, dx, dw))
    assert all(torch.equal(found, g.sum((0, 1))) for found in db)


def test_only_linear_maps_are_rounded():
    """Everything else is as it was, inside and after."""
    model = tiny_model("no bias")
    rows = random_tokens(model.arch, 2, 9)
    before = next_token_loss(model, rows)
    with bfloat16_matmuls():
        rounded = next_token_loss(model, rows)
        assert torch.equal(rows.float() @ rows.float().T, (rows @ rows.T).float())
    assert rounded != before
    assert rounded.item() == pytest.approx(before.item(), rel=0.05)
    assert next_token_loss(model, rows) == before


@pytest.mark.parametrize(
    ("has", "faster"),
    [({"avx512_bf16": True}, True), ({"bf16": True}, True), ({"avx512_bf16": False}, False)],
)
def test_what_is_faster_follows_from_the_machine_alone(monkeypatch, has, faster):
    """Not from a clock, which a busy machine would turn: two runs would end in other models."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    monkeypatch.setattr("time.perf_counter", lambda: pytest.fail("a product was timed"))
    assert faster_in_bfloat16("cpu") is faster


def test_where_nothing_is_known_of_the_machine_products_stay_float32(monkeypatch):
    """An older torch, or a device of another kind."""
    assert not faster_in_bfloat16("meta")
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not faster_in_bfloat16("cpu")
