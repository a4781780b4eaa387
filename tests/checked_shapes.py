"""Annotations of types and shapes that are executed, at a price that every call can pay.

jaxtyping's own decorator binds the arguments of each call anew and checks them twice. Here beartype
checks them once, in a scope for the names of axes only where the shape of an array is annotated.
"""

from collections.abc import Callable
from dataclasses import is_dataclass
from functools import wraps
from inspect import isclass
from types import CodeType, FunctionType
from typing import Any, get_args, get_type_hints

import jaxtyping
from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook, jaxtyped

Function = Callable[..., Any]
BEHIND = "__beartype_func"
"""The keyword of beartype's check that holds the function it calls."""
_nested: dict[CodeType, tuple[Function, bool]] = {}


def check_shapes_of(packages: list[str]) -> None:
    """Check whatever is imported from these packages from now on."""
    install_import_hook(packages, "beartype.beartype")
    jaxtyping.jaxtyped = lambda **_: checked


def checked(thing: Any) -> Any:
    """A function, method, property or dataclass whose annotations are executed."""
    if isclass(thing):
        if is_dataclass(thing):
            thing.__init__ = checked(thing.__init__)
        return thing
    if isinstance(thing, classmethod | staticmethod):
        return type(thing)(checked(thing.__func__))
    if isinstance(thing, property):
        return property(*(f and checked(f) for f in (thing.fget, thing.fset, thing.fdel)))
    check, shaped = _of_nested(thing) if "<locals>" in thing.__qualname__ else _of(thing)
    return _in_scope(check) if shaped else check


def _of(function: Function) -> tuple[Function, bool]:
    """A function after its check, and whether a shape is annotated, as far as is known yet."""
    as_written = dict(function.__annotations__)
    try:
        hints = get_type_hints(function, include_extras=True)
        shaped = any(map(_has_shape, hints.values()))
    except NameError:  # the class around it is still being made
        shaped = True
    check = beartype(function)  # which writes others over them, equal but for the order of a union
    function.__annotations__ = check.__annotations__ = as_written
    return check, shaped


def _has_shape(hint: Any) -> bool:
    is_array = isclass(hint) and issubclass(hint, AbstractArray)
    return is_array or any(map(_has_shape, get_args(hint)))


def _of_nested(function: Function) -> tuple[Function, bool]:
    """The same for a closure, of which there are many: the check is written for the first one."""
    if function.__code__ not in _nested:
        _nested[function.__code__] = _of(function)
    check, shaped = _nested[function.__code__]
    keywords = getattr(check, "__kwdefaults__", None) or {}
    if BEHIND not in keywords:
        return beartype(function), shaped
    again = FunctionType(check.__code__, check.__globals__, function.__name__)
    again.__kwdefaults__ = {**keywords, BEHIND: function}
    return wraps(function)(again), shaped


def _in_scope(check: Function) -> Function:
    """The same name of an axis is the same length throughout one call."""

    @wraps(check)
    def call(*args: Any, **kwargs: Any) -> Any:
        with jaxtyped("context"):
            return check(*args, **kwargs)

    return call
