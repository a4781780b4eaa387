"""The tables of docs/compare.md from the JSONs of all runs.

In: the results of each peer on each folder, with the folder's truth. Out: lines of Markdown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

from scoring import Found, discovery, is_expressible, is_refused

TRUE, NEAREST = "the mechanism", "nearest smallest"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one peer wrote of one folder, or why it did not."""

    peer: str
    truth: Mapping
    found: Mapping

    @property
    def methods(self) -> Mapping[str, Mapping]:
        """None where the peer failed."""
        return self.found.get("methods", {})


def tables(results: Sequence[Result]) -> Iterator[str]:
    """Discovery of parts and edges, evaluation, time, and what did not run."""
    yield from ("### Discovery: heads, and neurons or MLPs", "")
    yield from _discovery(results, by_edges=False)
    yield from ("", "### Discovery: edges", "")
    yield from _discovery(results, by_edges=True)
    yield from ("", "### Evaluation", "")
    yield from _evaluation(results)
    yield from ("", "### Time", "")
    yield from _times(results)
    yield from _failures(results)


def _discovery(results: Sequence[Result], *, by_edges: bool) -> Iterator[str]:
    """A row a method; a column a mechanism, and another where the smallest circuits differ."""
    kind = "edges" if by_edges else "parts"
    names = list(dict.fromkeys(r.truth["name"] for r in results))
    truths = [(name, t) for name in names for t in _truths(results, name)]
    yield _row("method", "exact", *(f"{name}{'' if t == TRUE else f', {t}'}" for name, t in truths))
    yield _rule(2 + len(truths))
    for peer, method in _columns(results, lambda m: kind in m or f"chosen_{kind}" in m):
        own = [r for r in results if r.peer == peer and method in r.methods]
        exact = sum(
            any(_found(r, method, t, by_edges=by_edges)[:2] == (1.0, 1.0) for t in (TRUE, NEAREST))
            for r in own
        )
        cells = []
        for name, t in truths:
            scores = [
                _found(r, method, t, by_edges=by_edges) for r in own if r.truth["name"] == name
            ]
            cells.append(_cell(scores) if scores else "not run")
        yield _row(f"{peer}: {method}", f"{exact} of {len(own)}", *cells)


def _truths(results: Sequence[Result], name: str) -> list[str]:
    truth = next(r.truth for r in results if r.truth["name"] == name)
    is_one = [c["nodes"] for c in truth["smallest"]] == [truth["mechanism"]["nodes"]]
    return [TRUE] if is_one else [TRUE, NEAREST]


def _found(result: Result, method: str, truth: str, *, by_edges: bool) -> Found:
    """Against the mechanism, or against the smallest circuit that fits best."""
    circuits = [result.truth["mechanism"]] if truth == TRUE else result.truth["smallest"]
    tried = [discovery(result.methods[method], c, by_edges=by_edges) for c in circuits]
    return max((found for found in tried if found), key=lambda f: f.precision + f.recall)


def _cell(scores: Sequence[Found]) -> str:
    precision, recall = mean(s.precision for s in scores), mean(s.recall for s in scores)
    ranks = [s.last_rank for s in scores if s.last_rank is not None]
    if ranks:
        return f"{precision:.2f} ({median(ranks):.0f})"
    return f"{precision:.2f} / {recall:.2f}"


def _evaluation(results: Sequence[Result]) -> Iterator[str]:
    columns = _columns(results, lambda m: "faithfulness" in m or "grades" in m)
    columns = [c for c in columns if c[1] not in ("EAP", "ACDC", "EAP, mean")]
    yield _row("circuit", *(f"{peer}: {EVALUATION.get(m, m)}" for peer, m in columns))
    yield _rule(1 + len(columns))
    for kind in dict.fromkeys(k for r in results for k in _kinds(r.truth)):
        yield _row(kind, *(_verdicts(results, column, kind) for column in columns))


EVALUATION = {"EAP-IG": "edges, interchange", "EAP-IG, mean": "edges, mean"}
"""The searches of edges share the score of a circuit."""


def _kinds(truth: Mapping) -> list[str]:
    return [TRUE, *(wrong["kind"] for wrong in truth["wrong"])]


def _verdicts(results: Sequence[Result], column: tuple[str, str], kind: str) -> str:
    peer, name = column
    own = [r for r in results if r.peer == peer and name in r.methods and kind in _kinds(r.truth)]
    scores, grades = [], Counter()
    for result in own:
        method, truth = result.methods[name], result.truth
        circuits = [truth["mechanism"], *truth["wrong"]]
        for place, (found, circuit) in enumerate(zip(_kinds(truth), circuits, strict=True)):
            if found != kind:
                continue
            if "grades" in method:
                grades[method["grades"][place][0]] += 1
            elif place == 0 or is_expressible(circuit, circuits[0], by_edges="edges" in method):
                scores.append(method["faithfulness"][place])
    if grades:
        good, rest = grades["A"] + grades["B"], grades["C"]
        return f"{grades['F']} of {grades.total()} (A or B {good}, C {rest})"
    if not scores:
        return "same parts" if own else "not run"
    refused = sum(map(is_refused, scores))
    return f"{refused} of {len(scores)} ({min(scores):z.2f} to {max(scores):z.2f})"


def _times(results: Sequence[Result]) -> Iterator[str]:
    yield _row("peer", "versions", "method", "CPU seconds a model, median")
    yield _rule(4)
    for peer, method in _columns(results, lambda m: True):
        own = [r for r in results if r.peer == peer and method in r.methods]
        versions = ", ".join(f"{k} {v}" for k, v in own[0].found["versions"].items())
        seconds = median(r.methods[method]["seconds"] for r in own)
        yield _row(peer, versions, method, f"{seconds:.2f}")


def _failures(results: Sequence[Result]) -> Iterator[str]:
    reasons = Counter((r.peer, r.found["failed"]) for r in results if "failed" in r.found)
    if reasons:
        yield from ("", "### Did not run", "", _row("peer", "models", "why"), _rule(3))
    for (peer, reason), n in sorted(reasons.items()):
        yield _row(peer, str(n), reason)


def _columns(results: Sequence[Result], wanted: Callable[[Mapping], bool]) -> list[tuple[str, str]]:
    found = ((r.peer, m) for r in results for m, method in r.methods.items() if wanted(method))
    return list(dict.fromkeys(found))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(n: int) -> str:
    return "|" + "---|" * n
