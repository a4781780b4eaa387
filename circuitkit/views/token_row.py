"""The bottom row of the stripped diagram: the tokens that matter, in the order of the prompt.

In: an example. Out: boxes from left to right. A place where the prompts differ has a box for
each prompt, marked as cue; between boxes that are not neighbours in the prompt stands an ellipsis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from circuitkit.circuit.explanation import Example, TokenSource
from circuitkit.views import dot
from circuitkit.views.answer_colours import LINES, Prompt
from circuitkit.views.example_pair import cues
from circuitkit.views.safe_text import token_text

CUE_FILL = "#FFE9B8"


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenBox:
    """A box of the row: the token of one prompt (``prompt``), or of both (None)."""

    name: str
    source: TokenSource
    prompt: Prompt | None
    is_last: bool = False
    is_cue: bool = False

    @property
    def text(self) -> str:
        """The token as a literal, or the position."""
        text = self.source.b if self.prompt == "b" else self.source.a
        text = text if text is not None else (self.source.b or "")
        return token_text(text) if self.source.kind == "token" else f"position {self.place}"

    @property
    def place(self) -> int:
        """The first position that it stands at."""
        at = self.source.b_at if self.prompt == "b" else self.source.a_at
        return min(at or self.source.a_at or self.source.b_at, default=0)


def token_boxes(example: Example, sources: Sequence[TokenSource]) -> list[TokenBox]:
    """The boxes of these sources and of the last token, in order."""
    chosen = dict.fromkeys((*sources, *_last(example, sources)))
    ordered = sorted(
        chosen, key=lambda source: (min(source.a_at or source.b_at or (0,)), source.kind)
    )
    boxes: list[tuple[TokenSource, Prompt | None]] = [
        (source, prompt)
        for source in ordered
        for prompt in _prompts(source)
        if prompt is None or getattr(source, prompt) is not None
    ]
    end = len(example.a.tokens) - 1
    return [
        TokenBox(
            name=f"token {i}",
            source=source,
            prompt=prompt,
            is_last=end in source.a_at,
            is_cue=_is_cue(example, source, prompt),
        )
        for i, (source, prompt) in enumerate(boxes)
    ]


def _is_cue(example: Example, source: TokenSource, prompt: Prompt | None) -> bool:
    """Whether the token stands where the prompt differs from the other."""
    if prompt == "b":
        return bool(set(source.b_at) & set(cues(example.b, example.a)))
    return prompt == "a" and bool(set(source.a_at) & set(cues(example.a, example.b)))


def _prompts(source: TokenSource) -> tuple[Prompt | None, ...]:
    return (None,) if source.a == source.b else ("a", "b")


def _last(example: Example, sources: Sequence[TokenSource]) -> list[TokenSource]:
    """The last token as a source of its own, unless one of the sources holds it."""
    ends = [len(run.tokens) - 1 for run in (example.a, example.b)]
    if any(source.kind == "token" and ends[0] in source.a_at for source in sources):
        return []
    a, b = example.a.tokens[-1], example.b.tokens[-1]
    return [TokenSource(kind="token", a=a, b=b, a_at=(ends[0],), b_at=(ends[1],))]


def draw(boxes: Sequence[TokenBox]) -> Iterator[str]:
    """State the row in order, with an ellipsis where the prompt has more tokens."""
    names = []
    for before, box in pairwise((None, *boxes)):
        assert box
        if _gap(before, box):
            names.append(f"gap {len(names)}")
            yield dot.plain(names[-1], "…", width="0.1", margin="0")
        names.append(box.name)
        yield _box(box)
    yield dot.same_row(names)
    yield from (dot.unseen(left, right) for left, right in pairwise(names))


def _gap(before: TokenBox | None, box: TokenBox) -> bool:
    if before is None:
        return box.place > 0
    return box.source != before.source and box.place > max(before.source.a_at or (0,)) + 1


def _box(box: TokenBox) -> str:
    also = ["last"] if box.is_last else []
    if box.prompt is None:
        times = len(box.source.a_at)
        also += [f"at {times} places"] if times > 1 else []
        return dot.box(box.name, "\n".join([box.text, *also]), "#FFFFFF", color="#FFFFFF")
    where = f"cue in {box.prompt}" if box.is_cue else f"in {box.prompt}"
    label = "\n".join([box.text, ", ".join([where, *also])])
    fill = CUE_FILL if box.is_cue else "#FFFFFF"
    return dot.box(box.name, label, fill, penwidth="1.5", **_frame(box.prompt))


def _frame(prompt: Prompt) -> dict[str, str]:
    look = LINES[prompt]
    return {"color": look["color"], "style": f"filled,{look.get('style', 'solid')}"}
