"""The reference of the library: a page for each room, with the public names that come from there.

The names are those of ``circuitkit.__all__``. What is said of them is their docstring.
"""

from __future__ import annotations

import inspect
from collections import defaultdict

import circuitkit

LITERALS = {"Split": "task"}
"""Public names that are types without a module of their own, and their room."""


def rooms() -> dict[str, list[str]]:
    """The public names by the room of the package that defines them."""
    found = defaultdict(list)
    for name in circuitkit.__all__:
        module = getattr(circuitkit, name).__module__
        found[LITERALS.get(name) or module.split(".")[1]].append(name)
    return dict(sorted(found.items()))


def pages() -> dict[str, str]:
    """The path of each page and its text, the overview first."""
    made = {"api/index.md": _overview()}
    for room, names in rooms().items():
        about = inspect.getdoc(__import__(f"circuitkit.{room}", fromlist=["_"])) or ""
        entries = "\n".join(map(_entry, names))
        made[f"api/{room}.md"] = (
            f"# circuitkit.{room}\n\n{about.partition(chr(10) * 2)[0]}\n\n{entries}"
        )
    return made


def _entry(name: str) -> str:
    """By the module that defines it: some modules have the name of a verb."""
    module = "circuitkit" if name in LITERALS else getattr(circuitkit, name).__module__
    return f'<a id="circuitkit.{name}"></a>\n\n::: {module}.{name}\n'


def _overview() -> str:
    rows = [
        f"| [`{name}`]({room}.md#circuitkit.{name}) | {_summary(name)} |"
        for room, names in rooms().items()
        for name in names
    ]
    return "\n".join(
        [
            "# Python API",
            "",
            "Every public name of `import circuitkit as ck`. What is not here can change without"
            " notice ([deprecation](../deprecation.md)).",
            "",
            "| name | what it is |",
            "|---|---|",
            *sorted(rows, key=str.lower),
        ]
    )  # fmt: skip


def _summary(name: str) -> str:
    value = getattr(circuitkit, name)
    if name in LITERALS:
        return " or ".join(f"`{each}`" for each in value.__args__)
    text = inspect.getdoc(value) or ""
    return " ".join(text.partition("\n\n")[0].split()).replace("|", "\\|").replace("``", "`")
