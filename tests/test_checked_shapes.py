"""Laws of the check of annotations in tests: it is there, for whatever has an annotation."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from checked_shapes import checked
from jaxtyping import Float
from tiny import tiny_architecture
from torch import Tensor

from circuitkit.model import record_tap
from circuitkit.nodes import Site


@checked
def product(
    a: Float[Tensor, "row inner"], b: Float[Tensor, "inner column"]
) -> Float[Tensor, "row column"]:
    """Of a matrix without rows a wrong one, to be caught at it."""
    return a @ b if len(a) else torch.zeros(1, 1)


def scaled_by(factor: float) -> Callable:
    """A closure, as taps are; scaled by nothing it is wrong."""

    @checked
    def scale(x: Float[Tensor, " width"], by: float = 1.0) -> Float[Tensor, " width"]:
        return x * factor * by if by else torch.zeros(len(x) + 1)

    return scale


@checked
@dataclass(frozen=True)
class Kept:
    values: Float[Tensor, "batch width"]

    @checked
    @classmethod
    def of(cls, n: int) -> "Kept":
        return cls(torch.zeros(n, 2))

    @checked
    @staticmethod
    def half(n: int) -> int:
        return n / 2

    @checked
    @property
    def first(self) -> int:
        return self.values[0]


def test_the_name_of_an_axis_is_one_length_in_a_call():
    """Among arguments and result; in the next call it may be another."""
    for inner in (2, 3):
        assert product(torch.ones(4, inner), torch.ones(inner, 5)).shape == (4, 5)
    with pytest.raises(BeartypeCallHintViolation, match="parameter b"):
        product(torch.ones(4, 2), torch.ones(3, 5))
    with pytest.raises(BeartypeCallHintViolation, match="return"):
        product(torch.ones(0, 2), torch.ones(2, 5))


def test_every_closure_is_checked_and_is_itself():
    """Those after the first of the same code too."""
    x = torch.ones(3)
    for factor in (2.0, 5.0, 7.0):
        scale = scaled_by(factor)
        assert scale(x).tolist() == [factor] * 3
        assert scale(x, by=2.0).tolist() == [2 * factor] * 3
        with pytest.raises(BeartypeCallHintViolation, match="parameter x"):
            scale(torch.ones(3, 3))
        with pytest.raises(BeartypeCallHintViolation, match="return"):
            scale(x, 0.0)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: Kept(torch.zeros(3)), "parameter values"),
        (lambda: Kept.of("3"), "parameter n"),
        (lambda: Kept.half(3), "return"),
        (lambda: Kept.of(3).first, "return"),
    ],
    ids=["dataclass", "classmethod", "staticmethod", "property"],
)
def test_whatever_has_annotations_is_checked(call, named):
    """Not functions alone."""
    with pytest.raises(BeartypeCallHintViolation, match=named):
        call()


def test_what_is_imported_is_checked():
    """Methods without a shape, and every tap that is made."""
    arch = tiny_architecture()
    with pytest.raises(BeartypeCallHintViolation, match="parameter kind"):
        arch.width(3)
    for _ in range(2):
        with pytest.raises(BeartypeCallHintViolation, match="parameter x"):
            record_tap({})(Site.parse("0.attn.q"), [1.0])
