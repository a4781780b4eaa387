"""A second device without a GPU: tensors that hold their values on the CPU and call it ``card``.

What mixes the two devices raises, as CUDA does, so that a whole search or validation can run
with its model on one device and its inputs on the other. Fake tensors would hold no values, and
a search decides by values. Allowed, as on CUDA: copies, a host tensor without axes, and host
indices into a tensor on the device. Random numbers on the device need a generator of the device,
so that a seeded draw has to be made on the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "card"
_HOST = torch.device("cpu")
_COPIES = ("aten::copy_", "aten::_to_copy", "aten::_copy_from")
_INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
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
    given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    device = kwargs.get("device")
    on_card = any(isinstance(t, OnCard) for t in given) if device is None else device.type == NAME
    _refuse_host_generator(func, kwargs, on_card=on_card)
    if func._schema.name not in _COPIES:
        _refuse_a_mix(func, args, given)
    if device is not None:
        kwargs["device"] = _HOST
    made = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    if not on_card:
        return made
    assert all(t.shape == t.held.shape for t in given if isinstance(t, OnCard)), func
    changed = {id(t.held): t for t in given if isinstance(t, OnCard)}  # in place: the same tensor
    return tree_map(lambda t: changed[id(t)] if id(t) in changed else _wrapped(t), made)


def _held(x: Any) -> Any:
    return x.held if isinstance(x, OnCard) else x


def _wrapped(x: Any) -> Any:
    return OnCard(x) if isinstance(x, torch.Tensor) else x


def _refuse_host_generator(func, kwargs: dict[str, Any], *, on_card: bool) -> None:
    generator = kwargs.get("generator")
    if on_card and generator is not None:
        raise RuntimeError(f"{func}: expected a '{NAME}' generator, got {generator.device}")


def _refuse_a_mix(func, args: tuple, given: list[torch.Tensor]) -> None:
    host = [t for t in given if not isinstance(t, OnCard) and t.ndim]
    if func._schema.name in _INDEXED and isinstance(args[0], OnCard):
        indices = tree_leaves(args[1])
        host = [t for t in host if not any(t is index for index in indices)]
    if host and len(host) < len(given):
        raise RuntimeError(f"{func}: expected all tensors on one device, got {NAME} and cpu")


def _without_tensors(func, *args: Any, **kwargs: Any) -> Any:
    """What reaches the device by its name alone: tensors that are made there."""
    kwargs.setdefault("device", torch.device(NAME, 0))
    return _run(func, args, kwargs)


def _copy(to: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    _held(to).copy_(_held(source))
    return to


@cache
def _registered() -> tuple[torch.library.Library, torch.library.Library]:
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
    _registered()
    monkeypatch.setattr("circuitkit.model.device.KINDS", ("cpu", "cuda", NAME))
    yield torch.device(NAME, 0)
