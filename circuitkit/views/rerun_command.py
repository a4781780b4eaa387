"""The command that makes a circuit again, or Python where the command line has no option.

In: a circuit, and where its checkpoint, task and reference are. Out: lines to copy, in which
DIR stands for the circuit's folder. No line is shortened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from circuitkit.circuit import Circuit, Origin
from circuitkit.circuit.folder import GIVEN
from circuitkit.circuit.published_losses import METHOD as RELEASED
from circuitkit.findings import DEFAULT_CLAIMS, Claim, Validation
from circuitkit.views.safe_text import shell_word

_OPTIONS = {
    "method": "--method", "schedule": "--schedule", "refine": "--no-refine",
    "n_gradient_points": "--gradient-points", "restarts": "--restarts", "tune": "--tune",
    "calibrate": "--calibrate", "target_loss_nats": "--target-loss", "ablation": "--ablation",
    "granularity": "--granularity", "seed": "--seed", "rung": "--rung", "asks": "--asks",
    "on_average": "--on-average",
}  # fmt: skip
"""The settings of ``ExtractConfig`` that the command line has an option for."""


_METHOD_WORDS: dict[str, tuple[str, Any]] = {
    "attribution": ("method", "attribution"),
    "random": ("method", "random"),
    "paper": ("schedule", "paper"),
    "unrefined": ("refine", False),
}


def commands(
    circuit: Circuit,
    validation: Validation | None,
    origin: Origin | None = None,
    *,
    by: str | None = None,
) -> list[str]:
    """The lines that make this report again; ``by`` is what sorted the families, if any were."""
    names = Origin(checkpoint=circuit.checkpoint.name, task=circuit.task.name, is_known=False)
    origin, settings = origin or names, _settings(circuit)
    beyond = [name for name in settings if name not in _OPTIONS]
    if circuit.method == RELEASED:
        made, beyond = _import(circuit, origin), []
    else:
        made = (_python if beyond else _extract)(circuit, origin, settings, by)
    return [
        *_notes(circuit, origin, beyond),
        *made,
        *([_validate(circuit, validation)] if validation else []),
        "circuitkit report DIR",
    ]


def _settings(circuit: Circuit) -> dict[str, Any]:
    """The search in the names of ``ExtractConfig``, with the target that was asked for."""
    how = (circuit.method or "").split()
    raised = circuit.requested_target_loss_nats is not None
    return {
        **dict(_METHOD_WORDS[word] for word in how if word in _METHOD_WORDS),
        **(circuit.search.model_dump() if circuit.search else {}),
        **({"calibrate": True} if circuit.calibration else {}),
        **({} if raised else {"target_loss_nats": circuit.target_loss_nats}),
        "ablation": circuit.ablation,
        "granularity": circuit.granularity,
        "seed": circuit.seed,
    }


def _extract(
    circuit: Circuit, origin: Origin, settings: Mapping[str, Any], by: str | None
) -> list[str]:
    words = ["circuitkit", "extract", origin.checkpoint, "--task", origin.task]
    for name, value in settings.items():
        words += [_OPTIONS[name]] if isinstance(value, bool) else [_OPTIONS[name], _plain(value)]
    for name, value in _sample(circuit, origin).items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--by-family", "--families", by] if by else []
    return [" ".join(map(shell_word, [*words, "--out", "DIR"]))]


def _plain(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _python(
    circuit: Circuit, origin: Origin, settings: Mapping[str, Any], by: str | None
) -> list[str]:
    chosen = {name: repr(value) for name, value in settings.items() if name != "n_within"}
    if "pruning" in settings:
        inside = ", ".join(f"{name}={value!r}" for name, value in settings["pruning"].items())
        chosen["pruning"] = f"ck.PruningConfig({inside})"
    given = ["checkpoint", "task", "config"]
    given += ["within=NODES"] if "n_within" in settings else []
    given += [f"{name}={value!a}" for name, value in _sample(circuit, origin).items()]
    run = f"ck.run_extraction({', '.join(given)}, out='DIR')"
    if by:
        run = f"ck.extract_by_family({', '.join(given)}, by={by!a}, out='DIR')"
    return [
        "import circuitkit as ck",
        f"checkpoint = ck.load_checkpoint({origin.checkpoint!a})",
        f"task = ck.load_task({origin.task!a})",
        f"config = ck.ExtractConfig({', '.join(f'{k}={v}' for k, v in chosen.items())})",
        run,
    ]


def _import(circuit: Circuit, origin: Origin) -> list[str]:
    """For a circuit that was released and not searched for; its file is not in the folder."""
    given = {"target_loss_nats": circuit.target_loss_nats, "n_test": circuit.n_pairs}
    given |= {"seed": circuit.seed, **_sample(circuit, origin)}
    options = ", ".join(f"{name}={value!a}" for name, value in given.items())
    return [
        "import circuitkit as ck",
        f"ck.import_circuit('viz_data.pt', {origin.checkpoint!a}, {origin.task!a}, {options}, "
        "out='DIR')",
    ]


def _sample(circuit: Circuit, origin: Origin) -> dict[str, Any]:
    """Where the sample is, and how much of it was read unless it is the checkpoint's own."""
    given: dict[str, Any] = {"reference": _reference(circuit, origin)}
    if circuit.reference and not circuit.reference.is_own:
        given["reference_tokens"] = circuit.reference.n_tokens
    return {name: value for name, value in given.items() if value is not None}


def _reference(circuit: Circuit, origin: Origin) -> str | None:
    """Where the sample is; a placeholder where only its hash is known."""
    if origin.is_known or circuit.reference is None or circuit.reference.is_own:
        return origin.reference
    return GIVEN


def _notes(circuit: Circuit, origin: Origin, beyond: list[str]) -> list[str]:
    """Comments on what the lines below them cannot say."""
    named = "checkpoint and task are given by name; where they are not built in, give their paths"
    notes = {
        "made by an earlier version: for restarts and the like see pruning.json":
            circuit.reference is None,
        named: not origin.is_known,
        "REFERENCE is the sample that was given": _reference(circuit, origin) == GIVEN,
        f"the command line has no option for {', '.join(beyond)}; in Python:": bool(beyond),
        "NODES are those that the circuit could choose from": "n_within" in beyond,
    }  # fmt: skip
    return [f"# {note}" for note, applies in notes.items() if applies]


def _validate(circuit: Circuit, validation: Validation) -> str:
    """``circuitkit validate``, with the options that the findings show were used."""
    tested = {finding.claim: finding.n_pairs for finding in validation.findings}
    n_pairs = tested.get(Claim.SUFFICIENT) or tested.get(Claim.COMPETENT, 0)
    pairs = ["--pairs", str(n_pairs)] if n_pairs not in (0, circuit.n_pairs) else []
    thorough = ["--thorough"] if any(claim not in DEFAULT_CLAIMS for claim in tested) else []
    return " ".join(["circuitkit", "validate", "DIR", *pairs, *thorough])
