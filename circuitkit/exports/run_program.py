"""Run a written program over prompts, in a Python of its own, and compare it with the circuit.

What is run is the text that is about to be written, so that what it says of itself is true. It is
run only if it defines what a program may define, in a folder that is deleted.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from circuitkit.circuit.folded_circuit import Tried
from circuitkit.errors import CircuitError
from circuitkit.views.numpy_program import TOP_LEVEL

_RUN = """
import json, runpy, sys
program = runpy.run_path(sys.argv[1])["logit_difference"]
print(json.dumps([program(*prompt) for prompt in json.load(sys.stdin)]))
"""


def largest_error(text: str, tried: Sequence[Tried]) -> float:
    """The largest difference between a program and the circuit over prompts, in nats.

    Raises:
        CircuitError: if the program does not run.
    """
    own = {(t.tokens, t.answer, t.foil): t.difference for t in tried}
    check_names(text)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "circuit.py"
        path.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-I", "-W", "error", "-c", _RUN, str(path)],
            input=json.dumps(list(own)), capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise CircuitError(f"the program of the circuit does not run: {last[0]}. Please report it.")
    found = json.loads(done.stdout)
    return max(abs(d - exact) for d, exact in zip(found, own.values(), strict=True))


def check_names(text: str) -> None:
    """Refuse a program that defines anything but its function, its helpers and its tables.

    Raises:
        CircuitError: if it does, or is no Python.
    """
    try:
        names = list(_top_level(ast.parse(text)))
    except (SyntaxError, ValueError) as error:
        raise CircuitError(f"the program of the circuit is no Python: {error}.") from None
    strange = [n for n in names if n not in TOP_LEVEL and not n.startswith(("RIVALS_", "STILL_"))]
    if strange:
        raise CircuitError(
            f"the program of the circuit holds {strange[0]} at its top, expected functions and "
            "tables alone. It is not written."
        )


def _top_level(module: ast.Module) -> Iterator[str]:
    """The names that a program defines; a docstring, NumPy, math and the last lines are known."""
    for i, found in enumerate(module.body):
        match found:
            case ast.FunctionDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                yield name
            case ast.Expr(value=ast.Constant(value=str())) if i == 0:
                pass
            case ast.Import(names=[ast.alias(name="math" | "numpy")]):
                pass
            case ast.If() if i == len(module.body) - 1:
                pass
            case _:
                yield f"line {found.lineno}"
