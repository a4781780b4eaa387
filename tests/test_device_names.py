"""Laws of the names of devices: one that cannot be used is refused, with why and what to do."""

import pytest
import torch

from circuitkit.errors import UsageError
from circuitkit.model.device import device_named, repeatable


def test_the_cpu_is_always_there():
    assert device_named("cpu") == device_named(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("abacus", "there is no such device"),
        ("cuda:x", "there is no such device"),
        ("mps", "circuitkit does not run on mps"),
        ("CPU", "it is written in small letters: cpu"),
        ("Cuda:1", "it is written in small letters: cuda:1"),
        ("Abacus", "there is no such device"),
        ("cpu:1", "the CPU has no number, all its cores are cpu"),
        ("meta", "circuitkit does not run on meta"),
    ],
)
def test_another_kind_of_device_is_refused(name, why):
    with pytest.raises(UsageError, match=rf"device = '{name}' cannot be used \({why}\).*Try cpu"):
        device_named(name)


def without_cuda(monkeypatch):
    monkeypatch.setattr("torch.version.cuda", None)


def without_gpu(monkeypatch):
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


def with_one_gpu(monkeypatch):
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)

    def empty(*args, device):
        raise RuntimeError("CUDA error: invalid device ordinal\nmore lines")

    monkeypatch.setattr("torch.empty", empty)


@pytest.mark.parametrize(
    ("machine", "why"),
    [
        (without_cuda, "is built without CUDA: install one with it"),
        (without_gpu, "torch sees no GPU: look at nvidia-smi"),
        (with_one_gpu, r"\(CUDA error: invalid device ordinal\)"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(monkeypatch, machine, why):
    """In one line."""
    machine(monkeypatch)
    with pytest.raises(UsageError, match=why) as refused:
        device_named("cuda:7")
    assert "\n" not in str(refused.value)


def settings():
    checks = torch.utils.deterministic
    return (
        torch.backends.cuda.matmul.fp32_precision, torch.get_deterministic_debug_mode(),
        checks.fill_uninitialized_memory,
    )  # fmt: skip


def raise_under(expected):
    assert settings() == expected
    raise ZeroDivisionError


@pytest.fixture
def rounded_products():
    """A program that lets products round, before it calls."""
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.fp32_precision = "none"


def test_a_gpu_multiplies_float32_and_repeats(rounded_products):
    """While a verb runs, also when it raises; what was set before is put back."""
    before, gpu = settings(), torch.device("cuda")
    assert before[0] == "tf32"
    with repeatable(gpu):
        assert settings() == ("ieee", 2, False)
        with pytest.raises(ZeroDivisionError), repeatable(gpu, tf32=True):
            raise_under(("tf32", 2, False))
        assert settings() == ("ieee", 2, False)
    assert settings() == before


def test_a_gpu_without_memory_is_one_message():
    with (
        pytest.raises(
            UsageError, match=r"^cuda:1 has too little memory \(CUDA out of memory\); .*"
        ),
        repeatable(torch.device("cuda:1")),
    ):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. More")


def test_on_a_cpu_no_setting_changes():
    before = settings()
    with repeatable(torch.device("cpu")):
        assert settings() == before
