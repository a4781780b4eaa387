"""Arguments of the verbs: one that is missing, misspelt or of a wrong type is one clear error."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache, wraps
from numbers import Integral, Real
from sys import float_info
from types import UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from circuitkit.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")

_NUMBERS = {int: Integral, float: Real}
"""What passes for a number: numpy's too, and a whole one where a float is expected and holds it."""


def checked_call(verb: Callable[P, R]) -> Callable[P, R]:
    """Check the arguments of a call against the verb's own signature.

    Types that cannot be checked, such as callables and sequences, are left to the verb.

    Raises:
        UsageError: (the decorated verb) if an argument is missing, unknown or of a wrong type.
    """
    signature = inspect.signature(verb)

    @wraps(verb)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise UsageError(f"{verb.__name__}: {error}{_meant(signature, kwargs)}") from None
        for name, value in bound.arguments.items():
            _check(f"{verb.__name__}: {name}", value, _hints(verb).get(name, Any))
        return verb(*args, **kwargs)

    return call


def check_fields(noun: object) -> None:
    """Check the fields of a dataclass against its own hints, as ``checked_call`` does arguments.

    Numbers of NumPy become Python's, which files and hashes take.

    Raises:
        UsageError: if one is of a wrong type.
    """
    kind = type(noun)
    for name, hint in _hints(kind).items():
        value = getattr(noun, name)
        _check(f"{kind.__name__}: {name}", value, hint)
        object.__setattr__(noun, name, _plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, int | float):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def _meant(signature: inspect.Signature, given: Mapping[str, object]) -> str:
    names = list(signature.parameters)
    wrong = [name for name in given if name not in names]
    near = [close for name in wrong for close in get_close_matches(name, names, n=1)]
    return f"; did you mean {near[0]!r}?" if near else f"; expected {', '.join(names)}."


@cache
def _hints(verb: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(verb)


def _check(what: str, value: object, hint: Any) -> None:
    choices = list(_choices(hint))
    if not any(_fits(value, choice) for choice in choices):
        expected = " or ".join(map(_name, choices))
        raise UsageError(
            f"{what}: got {_shortened(value)} ({type(value).__name__}), expected {expected}."
        )


def _choices(hint: Any) -> Iterator[Any]:
    """The alternatives of a hint; those of a ``Literal`` are its values."""
    if get_origin(hint) in (Union, UnionType):
        for part in get_args(hint):
            yield from _choices(part)
    elif get_origin(hint) is Literal:
        yield from get_args(hint)
    else:
        yield getattr(hint, "array_type", hint)  # of a jaxtyping shape


def _fits(value: object, choice: Any) -> bool:
    if isinstance(choice, type) and get_origin(choice) is None:
        if choice in _NUMBERS:
            is_number = isinstance(value, _NUMBERS[choice]) and not isinstance(value, bool)
            is_too_large = (
                choice is float and isinstance(value, int) and abs(value) > float_info.max
            )
            return is_number and not is_too_large
        return isinstance(value, choice)
    return value == choice if isinstance(choice, str) else True


def _name(choice: Any) -> str:
    if choice is type(None):
        return "None"
    return choice.__name__ if isinstance(choice, type) else repr(choice)


def _shortened(value: object) -> str:
    shown = repr(value).partition("\n")[0]
    return shown if len(shown) <= 60 else shown[:57] + "..."
