"""How complete the types of the public names are: ``python tests/benchmarks/public_types.py``.

Public are the names of ``circuitkit.__all__`` and their members. pyright's ``--verifytypes`` knows
none of torch's classes, so what derives from ``torch.nn.Module`` cannot be complete; everything
else has to be (exit code 1 if not).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import circuitkit

ROOT = Path(__file__).parents[2]
OF_TORCH = ("Type of metaclass unknown", "Type of base class unknown")
MODULES = ('"Transformer"', '"CompiledCircuit"')
"""Public classes that derive from torch, or hold what does."""


DEFINED = [f"{getattr(circuitkit, name).__module__}.{name}" for name in circuitkit.__all__]


def symbols() -> list[dict]:
    """What pyright says of every symbol of the package."""
    command = ["pyright", "--pythonpath", sys.executable, "--verifytypes", "circuitkit"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--ignoreexternal", "--outputjson"],
        check=False, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return json.loads(done.stdout)["typeCompleteness"]["symbols"]


def is_public(name: str) -> bool:
    """A name of ``__all__`` where it is defined, or inside it."""
    return any(name == each or name.startswith(f"{each}.") for each in DEFINED)


def main() -> int:
    """Print the shares; name what is not known for a reason of ours."""
    public = [symbol for symbol in symbols() if is_public(symbol["name"])]
    unknown = [s for s in public if not s["isTypeKnown"] or s["isTypeAmbiguous"]]
    ours = [
        f"{symbol['name']}: {found['message'].splitlines()[0]}"
        for symbol in unknown
        for found in symbol["diagnostics"]
        if found["message"] not in OF_TORCH and not any(m in found["message"] for m in MODULES)
    ]
    sys.stdout.write(f"{len(public) - len(unknown)} of {len(public)} public types are known\n")
    sys.stdout.write(f"{len(ours)} of the others for a reason other than torch\n")
    sys.stdout.write("".join(f"  {line}\n" for line in ours))
    return bool(ours) or not public


if __name__ == "__main__":
    sys.exit(main())
