"""Check a task against a checkpoint: whether it can be asked, and how well the model does it."""

from __future__ import annotations

from typing import Any

from circuitkit.checkpoints import Checkpoint
from circuitkit.extraction.masked import tapped_differences
from circuitkit.task import SPLITS, Task
from circuitkit.validation.competent import ACCURACY
from circuitkit.validation.statistics import Estimate, cluster_mean, proportion
from circuitkit.validation.trial import hits_of, losses_of
from circuitkit.validation.verdict import MIN_CLUSTERS


def check_task(checkpoint: Checkpoint, task: Task, n_pairs: int = 512) -> dict[str, Any]:
    """Loss and accuracy on the test split with 90 % intervals, and what is wrong in words.

    Raises:
        TaskError: if a prompt of any split does not fit, or an answer is not one token.
    """
    for split in SPLITS:
        if task.templates(split):
            checkpoint.encode(task.up_to(split, len(task.templates(split))))
    pairs = checkpoint.encode(task.up_to("test", n_pairs))
    differences = tapped_differences(checkpoint.load_model(), pairs, None)
    accuracy = proportion(hits_of(differences), pairs.templates, seed=0)
    loss = cluster_mean(losses_of(differences), pairs.templates, seed=0)
    n_templates = len(set(pairs.templates))
    problems = [
        *([] if accuracy.low >= ACCURACY else [
            f"accuracy lower bound {accuracy.low:.3f} is below {ACCURACY}: "
            "no circuit of it is to be trusted"
        ]),
        *([] if n_templates >= MIN_CLUSTERS else [
            f"{n_templates} test templates; fewer than {MIN_CLUSTERS} cap the grade"
        ]),
    ]  # fmt: skip
    return {
        "task": task.name,
        "checkpoint": checkpoint.name,
        "n_pairs": len(pairs),
        "n_templates": n_templates,
        "loss_nats": _plain(loss),
        "accuracy": _plain(accuracy),
        "problems": problems,
    }


def _plain(estimate: Estimate) -> dict[str, float]:
    return {"mean": estimate.effect, "low": estimate.low, "high": estimate.high}
