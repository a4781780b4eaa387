"""Ablation values: the mean of every node over the reference sample.

In: a model and tokens. Out: a mean and its standard error for every channel, in
a file bound to the checkpoint by hash. Source: Gao et al. 2025, section A.5;
measured on the very model that is pruned, activation top-k on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from circuitkit.arguments import checked_call
from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.native import checked_sample
from circuitkit.checkpoints.reference import sample_sha256
from circuitkit.circuit.folder import MEANS as FILE
from circuitkit.errors import CircuitError
from circuitkit.files import regular_file, sha256, write_whole
from circuitkit.model import Transformer
from circuitkit.nodes import Site
from circuitkit.progress import Progress, shown

FORMAT = "circuitkit.means/1"
_ABOUT = {"format": str, "ablation": str, "n_tokens": int, "checkpoint_sha256": str}
_TOKENS_A_BATCH = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What each node is replaced by when it is ablated.

    Each mapping takes a site to a float32 vector of its width. ``even`` is the mean
    over every other sequence of the reference, from the first: it shows how much a
    result depends on the sample. The unit of the standard errors is the sequence.
    All are zeros when ``ablation`` is zero.

    Examples:
        >>> import circuitkit as ck
        >>> checkpoint = ck.load_checkpoint("tinypython-nano")
        >>> means = ck.measure_means(checkpoint.load_model(), checkpoint.load_reference()[:8])
        >>> means.values[ck.Site.parse("0.attn.q")].shape
        torch.Size([128])
    """

    values: Mapping[Site, Tensor]
    even: Mapping[Site, Tensor]
    standard_errors: Mapping[Site, Tensor]
    ablation: str
    n_tokens: int
    checkpoint_sha256: str

    def __repr__(self) -> str:
        n_nodes = sum(len(value) for value in self.values.values())
        return f"Means({self.ablation}, {n_nodes:,} nodes, {self.n_tokens:,} tokens)"

    def pushed(self, times: float) -> dict[Site, Tensor]:
        """The values moved towards the even half's: 1 is that half's means, -1 the odd half's."""
        return {
            site: value + times * (self.even[site] - value) for site, value in self.values.items()
        }

    def to_bytes(self) -> bytes:
        """The content of ``means.safetensors``; the same means give the same bytes."""
        tensors = {f"mean/{site}": value.contiguous() for site, value in self.values.items()}
        tensors |= {f"even/{site}": value.contiguous() for site, value in self.even.items()}
        tensors |= {f"standard_error/{s}": e.contiguous() for s, e in self.standard_errors.items()}
        about = {
            "format": FORMAT,
            "ablation": self.ablation,
            "n_tokens": self.n_tokens,
            "checkpoint_sha256": self.checkpoint_sha256,
        }
        # one key: safetensors writes several in an order of its own, and bytes must repeat
        return save(tensors, {"circuitkit": json.dumps(about)})

    @property
    def sha256(self) -> str:
        """The hash of the file, to which a circuit is bound."""
        return sha256(self.to_bytes())

    def save(self, folder: str | Path) -> None:
        """Write ``means.safetensors``, whole or not at all."""
        write_whole(Path(folder) / FILE, self.to_bytes())

    @classmethod
    def load(cls, folder: str | Path, widths: Mapping[Site, int]) -> Means:
        """Read the means of a circuit folder, for a model with these sites.

        Raises:
            CircuitError: if the file is missing, corrupt or of another shape.
        """
        path = Path(folder) / FILE
        try:
            with safe_open(
                regular_file(path, CircuitError, "ablation values"), framework="pt"
            ) as file:
                about = json.loads((file.metadata() or {}).get("circuitkit", "{}"))
                # copies: what safetensors gives is the file itself and changes with it
                values = {s: file.get_tensor(f"mean/{s}").clone() for s in widths}
                even = {s: file.get_tensor(f"even/{s}").clone() for s in widths}
                errors = {s: file.get_tensor(f"standard_error/{s}").clone() for s in widths}
        except FileNotFoundError:
            raise CircuitError(f"no such file: {path}; extract the circuit again.") from None
        except (SafetensorError, OSError, ValueError) as error:
            raise CircuitError(f"{path} does not hold this model's means: {error}.") from None
        if not _is_about(about):
            raise CircuitError(
                f"{path}: metadata {about}, expected format {FORMAT!r} with {', '.join(_ABOUT)}; "
                "extract the circuit again."
            )
        for kind, found in (("mean", values), ("even", even), ("standard_error", errors)):
            for site, width in widths.items():
                got = found[site]
                wrong = got.dtype != torch.float32 or got.shape != (width,)
                if wrong or not got.isfinite().all():
                    raise CircuitError(
                        f"{path}: {kind}/{site} is not {width} finite numbers of float32, got "
                        f"{str(got.dtype).removeprefix('torch.')} {tuple(got.shape)}; extract "
                        "the circuit again."
                    )
        return cls(
            values=values,
            even=even,
            standard_errors=errors,
            ablation=about["ablation"],
            n_tokens=about["n_tokens"],
            checkpoint_sha256=about["checkpoint_sha256"],
        )


def _is_about(about: Any) -> bool:
    """Whether this is the metadata of means: every key there, and of its type."""
    if not isinstance(about, dict) or about.keys() != _ABOUT.keys():
        return False
    of_type = all(type(about[key]) is kind for key, kind in _ABOUT.items())
    return of_type and about["format"] == FORMAT and about["ablation"] in ("mean", "zero")


@dataclass(slots=True)
class _Moments:
    total: Tensor
    even: Tensor
    squares: Tensor

    def add(self, per_sequence: Float[Tensor, "n width"], first: int) -> None:
        self.total += per_sequence.sum(0)
        self.even += per_sequence[first % 2 :: 2].sum(0)
        self.squares += per_sequence.square().sum(0)


@checked_call
@torch.no_grad()
def measure_means(
    model: Transformer,
    reference: Int[Tensor, "n length"],
    *,
    checkpoint_sha256: str = "",
    progress: Progress | None = None,
) -> Means:
    """The mean of every node over all positions of the reference, summed in float64.

    Activations are streamed: one batch at a time is held.

    Raises:
        CheckpointError: if the reference is not token ids of this model.

    Examples:
        >>> import circuitkit as ck
        >>> checkpoint = ck.load_checkpoint("tinypython-nano")
        >>> means = ck.measure_means(checkpoint.load_model(), checkpoint.load_reference()[:8])
        >>> means.n_tokens
        1024
    """
    reference = checked_sample(reference, model.arch)
    widths, device = model.arch.widths, model.device
    moments = {
        site: _Moments(*torch.zeros(3, width, dtype=torch.float64, device=device))
        for site, width in widths.items()
    }

    start = 0

    def tap(site: Site, x: Tensor) -> Tensor:
        moments[site].add(x.sum(1, dtype=torch.float64) / x.shape[1], start)
        return x

    n, length = reference.shape
    with shown(progress) as report:
        for start in range(0, n, max(1, _TOKENS_A_BATCH // length)):
            batch = reference[start : start + max(1, _TOKENS_A_BATCH // length)].long().to(device)
            model.stream(batch, tap)
            report("means", min(n, start + len(batch)) * length, n * length)
    means = {site: m.total / n for site, m in moments.items()}
    even = {site: m.even / ((n + 1) // 2) for site, m in moments.items()}
    spread = {s: (m.squares / n - means[s].square()).clamp(min=0) for s, m in moments.items()}
    return Means(
        values={site: mean.float().cpu() for site, mean in means.items()},
        even={site: mean.float().cpu() for site, mean in even.items()},
        standard_errors={s: (v / max(1, n - 1)).sqrt().float().cpu() for s, v in spread.items()},
        ablation="mean",
        n_tokens=n * length,
        checkpoint_sha256=checkpoint_sha256,
    )


_last: dict[tuple[str, str, str], Means] = {}


def means_of(
    checkpoint: Checkpoint, model: Transformer, sample: Int[Tensor, "n length"], progress: Progress
) -> Means:
    """The means of a checkpoint over a sample; those measured last in this process are kept.

    So ``validate`` after ``extract`` does not measure them again.
    """
    key = checkpoint.sha256, sample_sha256(sample), str(model.device)
    if key in _last:
        progress("means", sample.numel(), sample.numel())
        return _last[key]
    means = measure_means(model, sample, checkpoint_sha256=checkpoint.sha256, progress=progress)
    _last.clear()
    _last[key] = means
    return means


def halves_differ(reference: Int[Tensor, "n length"]) -> bool:
    """Whether the two halves of a reference, every other sequence, hold different text.

    If they do not, as for one sequence or copies of it, their means agree for any sample, and
    say nothing about how much a result depends on it.
    """
    rows = [row.numpy().tobytes() for row in reference.cpu()]
    return len(set(rows)) > 1 and sorted(rows[::2]) != sorted(rows[1::2])


def zero_means(widths: Mapping[Site, int], checkpoint_sha256: str = "") -> Means:
    """Zeros for every node; not the default, as circuits are smaller and less faithful."""
    values, even, errors = (
        {site: torch.zeros(width) for site, width in widths.items()} for _ in range(3)
    )
    return Means(
        values=values,
        even=even,
        standard_errors=errors,
        ablation="zero",
        n_tokens=0,
        checkpoint_sha256=checkpoint_sha256,
    )
