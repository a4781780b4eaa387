"""The page of error messages: every message of the package, by its exception.

The messages are read from the code. What varies in one is shown in braces.
"""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from circuitkit import errors

PACKAGE = Path(errors.__file__).parent
KINDS = [
    name
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, errors.CircuitkitError)
]
HEAD = """\
# Error messages

Every error that you can cause is a `circuitkit.CircuitkitError`. The command line prints its
message alone and exits with 2. A message says what is wrong, what was got, what was expected and
what to do. This page lists the messages of the package by exception; search it for a part of
yours. What varies stands in braces.
[Questions and answers](faq.md) are about results that surprise.
"""


def page() -> str:
    """Each exception with its docstring and its messages."""
    found = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for kind, message in messages(path.read_text(encoding="utf-8")):
            found[kind].append((path.relative_to(PACKAGE.parent).as_posix(), message))
    parts = [HEAD]
    for kind in KINDS:
        about = inspect.getdoc(getattr(errors, kind)) or ""
        parts += [f"## {kind}", "", about.replace("``", "`"), ""]
        parts += [f"- {_quoted(message)} <small>{path}</small>" for path, message in found[kind]]
        parts.append("")
    return "\n".join(parts)


def messages(source: str) -> Iterator[tuple[str, str]]:
    """The kind and the text of each error that some Python makes with a text of its own."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        kind = ast.unparse(node.func).rpartition(".")[2]
        text = _text(node.args[0])
        if kind in KINDS and any(letter.isalpha() for letter in _fixed(node.args[0])):
            yield kind, " ".join(text.split())


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    inner = node.value if isinstance(node, ast.FormattedValue) else node
    return "{" + _name(inner) + "}"


def _fixed(node: ast.expr) -> str:
    """What of a message is the same each time."""
    return "".join(
        str(part.value)
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and len(part.value) > 3
    )


def _name(node: ast.expr) -> str:
    """A short name for what varies."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute):
            return part.attr
    names = [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
    return names[0] if names else "…"


def _quoted(message: str) -> str:
    return f"`` {message} ``" if "`" in message else f"`{message}`"
