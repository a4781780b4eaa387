"""circuitkit: find small circuits in weight-sparse transformers, validate and report on them.

```python
import circuitkit as ck

checkpoint = ck.load_checkpoint("tinypython-nano")
task       = ck.load_task("bracket_counting")
circuit    = ck.extract(checkpoint, task, out="out/bracket_counting")
validation = ck.validate(checkpoint, task, circuit)
ck.write_report("out/bracket_counting", circuit, validation)
```

Each name and module is imported when first used, so that ``circuitkit --help`` waits for no
library. Circuits, findings, tasks and reports need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from circuitkit.distribution import NEEDS_TORCH, installed_version

if TYPE_CHECKING:
    from circuitkit.bridges.perturb import perturb
    from circuitkit.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
    from circuitkit.circuit import Circuit, CircuitFolder, Perturbation
    from circuitkit.circuit.comparison import compare
    from circuitkit.circuit.recurrence import compare_many
    from circuitkit.compiled import compile, compile_circuit
    from circuitkit.errors import CircuitkitError
    from circuitkit.exports import export, read_mask
    from circuitkit.extraction import (
        ExtractConfig,
        Means,
        PruningConfig,
        extract,
        import_circuit,
        measure_means,
        run_extraction,
    )
    from circuitkit.families import extract_by_family, find_families
    from circuitkit.findings import Claim, Finding, Validation
    from circuitkit.model import Architecture, Transformer
    from circuitkit.nodes import Edge, Node, NodeSet, Site
    from circuitkit.studies import Study, StudyResults, load_results, load_study
    from circuitkit.studies.run_study import run_study
    from circuitkit.task import Pair, Prompt, Split, Task, builtin_tasks, load_task
    from circuitkit.training import load_config, train
    from circuitkit.validation import validate, validate_folder
    from circuitkit.views.report import write_report, write_reports

_HOME = {
    "Architecture": "model",
    "Checkpoint": "checkpoints",
    "Circuit": "circuit",
    "CircuitFolder": "circuit",
    "CircuitkitError": "errors",
    "Claim": "findings",
    "Edge": "nodes",
    "ExtractConfig": "extraction",
    "Finding": "findings",
    "Means": "extraction",
    "Node": "nodes",
    "NodeSet": "nodes",
    "Pair": "task",
    "Perturbation": "circuit",
    "Prompt": "task",
    "PruningConfig": "extraction",
    "Site": "nodes",
    "Split": "task",
    "Study": "studies",
    "StudyResults": "studies",
    "Task": "task",
    "Transformer": "model",
    "Validation": "findings",
    "builtin_tasks": "task",
    "compare": "circuit.comparison",
    "compare_many": "circuit.recurrence",
    "compile": "compiled",
    "compile_circuit": "compiled",
    "export": "exports",
    "extract": "extraction",
    "extract_by_family": "families",
    "find_families": "families",
    "import_circuit": "extraction",
    "load_checkpoint": "checkpoints",
    "load_config": "training",
    "load_results": "studies",
    "load_study": "studies",
    "load_task": "task",
    "measure_means": "extraction",
    "perturb": "bridges.perturb",
    "read_mask": "exports",
    "run_extraction": "extraction",
    "run_study": "studies.run_study",
    "save_checkpoint": "checkpoints",
    "train": "training",
    "validate": "validation",
    "validate_folder": "validation",
    "write_report": "views.report",
    "write_reports": "views.report",
}

__version__ = installed_version()

__all__ = [
    "Architecture",
    "Checkpoint",
    "Circuit",
    "CircuitFolder",
    "CircuitkitError",
    "Claim",
    "Edge",
    "ExtractConfig",
    "Finding",
    "Means",
    "Node",
    "NodeSet",
    "Pair",
    "Perturbation",
    "Prompt",
    "PruningConfig",
    "Site",
    "Split",
    "Study",
    "StudyResults",
    "Task",
    "Transformer",
    "Validation",
    "builtin_tasks",
    "compare",
    "compare_many",
    "compile",
    "compile_circuit",
    "export",
    "extract",
    "extract_by_family",
    "find_families",
    "import_circuit",
    "load_checkpoint",
    "load_config",
    "load_results",
    "load_study",
    "load_task",
    "measure_means",
    "perturb",
    "read_mask",
    "run_extraction",
    "run_study",
    "save_checkpoint",
    "train",
    "validate",
    "validate_folder",
    "write_report",
    "write_reports",
]


def __getattr__(name: str) -> Any:
    home = f"circuitkit.{_HOME.get(name, name)}"
    try:
        found = import_module(home)
    except ModuleNotFoundError as error:
        if error.name == "torch":
            message = f"circuitkit.{name}: {NEEDS_TORCH}"
            raise ModuleNotFoundError(message, name="torch") from None
        if error.name != home:
            raise
        raise AttributeError(f"module 'circuitkit' has no attribute {name!r}") from None
    value = globals()[name] = getattr(found, name) if name in _HOME else found
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
