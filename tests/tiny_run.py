"""Tiny training runs: a configuration of six steps, and what a finished folder holds."""

import json
from pathlib import Path

CONFIG = """
format = "circuitkit.training/1"
name = "tiny"
seed = 3

[corpus]
source = "folder:{text}"
n_tokens = 2000
vocab_size = 280
n_validation_tokens = 200
n_reference_tokens = 320

[architecture]
n_ctx = 16
n_layer = 2
d_model = 16
n_head = 2
d_head = 8
d_mlp = 32
attention_sink = true
bigram_table = true
activation_topk = {{ "mlp.post_act" = 0.25, "attn.q" = 0.5 }}

[sparsity]
l0_fraction = 0.125

[optimizer]
lr = 0.01
eps = 1e-6

[run]
n_tokens = 384
batch_sequences = 4
validate_every = 2
save_every = 2
matmul = "float32"
"""
N_STEPS = 6


def tiny_config(folder: Path) -> Path:
    """A configuration beside the text that it reads."""
    (folder / "text").mkdir()
    for i in range(20):
        lines = [f"value_{j} = [{i}, {j}, 'x{i * j % 7}']\n" for j in range(12)]
        (folder / "text" / f"{i:02}.py").write_text("".join(lines))
    (folder / "tiny.toml").write_text(CONFIG.format(text=folder / "text"))
    return folder / "tiny.toml"


def large_config(folder: Path) -> Path:
    """The same where torch shares the work of a step among its threads: as many steps."""
    path = tiny_config(folder)
    changed = path.read_text()
    for old, new in (("n_ctx = 16", "n_ctx = 32"), ("_sequences = 4", "_sequences = 16"),
                     ("\nn_tokens = 384", "\nn_tokens = 3072")):  # fmt: skip
        assert old in changed
        changed = changed.replace(old, new)
    path.write_text(changed)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run, to the byte; of its record, all but when and how fast it ran."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    record = json.loads(found.pop("training.json"))
    kept = {key: record[key] for key in record if key not in ("seconds", "resumed_at_step")}
    return {**found, "training.json": json.dumps(kept).encode()}


class Stopped(Exception):  # noqa: N818 - a power cut, not an error
    pass


def stopping_after(step: int):
    """A report that stops the run once so many steps are done."""

    def report(progress):
        if progress.stage == "steps" and progress.done == step:
            raise Stopped

    return report
