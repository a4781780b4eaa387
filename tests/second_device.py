"""A second device without a GPU: tensors that hold their values on the CPU and call it ``card``.

What mixes the two devices raises, as CUDA does, so that a whole search or validation can run
with its model on one device and its inputs on the other. Fake tensors would hold no values, and
a search decides by values. Allowed, as on CUDA: copies, a host tensor without axes, and host
indices into a tensor on the device. Refused, as on CUDA: arrays of tensors there, random numbers
there from a generator of the host, and sums that CUDA takes in no fixed order and torch therefore
refuses where bytes are to repeat (``torch.use_deterministic_algorithms`` lists them).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "card"
_HOST = torch.device("cpu")
_COPIES = ("aten::copy_", "aten::_to_copy", "aten::_copy_from")
_INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
_NO_ORDER = (
    "aten::bincount", "aten::cumsum", "aten::histc", "aten::median.dim", "aten::nll_loss2d_forward",
    "aten::put_",
)  # fmt: skip
_NO_ARRAY = "can't convert card:0 device type tensor to numpy. Use Tensor.cpu() first"


class OnCard(torch.Tensor):
    """A tensor on the second device; ``held`` has its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnCard:
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=torch.device(NAME, 0),
        )  # fmt: skip
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, dict(kwargs or {}))

    def __tensor_flatten__(self):
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner, meta, size, stride):
        return OnCard(inner["held"])

    def __repr__(self) -> str:
        return f"OnCard({self.held!r})"

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError(_NO_ARRAY)

    def __array__(self, *args: Any) -> Any:
        raise TypeError(_NO_ARRAY)


def _run(func, args: tuple, kwargs: dict[str, Any]) -> Any:
    given: list[torch.Tensor] = []
    device, name = kwargs.get("device"), func._schema.name
    plain, named = _held(args, given), {k: _held(v, given) for k, v in kwargs.items()}
    on_card = any(isinstance(t, OnCard) for t in given) if device is None else device.type == NAME
    if on_card:
        _refuse_what_cuda_refuses(func, name, kwargs, given)
    if name not in _COPIES:
        _refuse_a_mix(func, name, args, given)
    if device is not None:
        named["device"] = _HOST
    made = func(*plain, **named)
    if not on_card:
        return made
    changed = {id(t.held): t for t in given if isinstance(t, OnCard)}  # in place: the same tensor
    assert all(t.shape == t.held.shape for t in changed.values()), func
    return _wrapped(made, changed)


def _held(x: Any, given: list[torch.Tensor]) -> Any:
    """Arguments with the values of their tensors, which are collected."""
    if isinstance(x, torch.Tensor):
        given.append(x)
        return x.held if isinstance(x, OnCard) else x
    return type(x)(_held(each, given) for each in x) if type(x) in (list, tuple) else x


def _wrapped(x: Any, changed: Mapping[int, OnCard]) -> Any:
    if isinstance(x, torch.Tensor):
        return changed[id(x)] if id(x) in changed else OnCard(x)
    return type(x)(_wrapped(each, changed) for each in x) if type(x) in (list, tuple) else x


def _refuse_what_cuda_refuses(
    func, name: str, kwargs: Mapping[str, Any], given: Sequence[torch.Tensor]
) -> None:
    if kwargs.get("generator") is not None:
        raise RuntimeError(f"{func}: expected a '{NAME}' generator, got one of the cpu")
    if name in _NO_ORDER and any(t.is_floating_point() for t in given):
        raise RuntimeError(f"{func} does not have a deterministic implementation")


def _refuse_a_mix(func, name: str, args: tuple, given: Sequence[torch.Tensor]) -> None:
    host = [t for t in given if not isinstance(t, OnCard) and t.ndim]
    if not host or len(host) == len(given):
        return
    if name in _INDEXED and isinstance(args[0], OnCard):
        host = [t for t in host if not any(t is index for index in args[1])]
    if host:
        raise RuntimeError(f"{func}: expected all tensors on one device, got {NAME} and cpu")


def _without_tensors(func, *args: Any, **kwargs: Any) -> Any:
    """What reaches the device by its name alone: tensors that are made there."""
    kwargs.setdefault("device", torch.device(NAME, 0))
    return _run(func, args, kwargs)


def _copy(to: OnCard, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    to.held.copy_(source.held if isinstance(source, OnCard) else source)
    return to


@cache
def registered() -> tuple[torch.library.Library, torch.library.Library]:
    _setup_privateuseone_for_python_backend(NAME)
    rest, aten = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    rest.fallback(_without_tensors, "PrivateUse1")
    aten.impl("copy_", _copy, "PrivateUse1")
    for name in ("arange", "arange.start", "arange.start_step"):  # else made by a resize
        packet, _, overload = name.partition(".")
        func = getattr(getattr(torch.ops.aten, packet), overload or "default")
        aten.impl(name, partial(_without_tensors, func), "PrivateUse1")
    return rest, aten


@contextmanager
def second_device(monkeypatch) -> Iterator[torch.device]:
    """The device ``card``, which every verb accepts while this lasts."""
    registered()
    monkeypatch.setattr("circuitkit.model.device.KINDS", ("cpu", "cuda", NAME))
    yield torch.device(NAME, 0)
