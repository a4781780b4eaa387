"""The training configuration: one TOML file, every part of the recipe a key.

Source: Gao et al. 2025, section A.2 for the recipe; the keys are ours.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_serializer,
    model_validator,
)

from circuitkit.errors import ConfigError
from circuitkit.files import read_bounded
from circuitkit.model.architecture import Architecture
from circuitkit.provenance import STRICT, Named, first_problem, without_unset

DEFAULT_VOCAB_SIZE = 512

_FINITE = STRICT | ConfigDict(allow_inf_nan=False)

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]


class CorpusConfig(BaseModel):
    """What is read: a corpus spec and how many tokens of it are laid down as shards."""

    model_config = _FINITE
    source: str = "tinypython"
    n_tokens: Count
    vocab_size: Annotated[int, Field(ge=258, le=65536)] = DEFAULT_VOCAB_SIZE
    n_validation_tokens: Count = 65_536
    n_reference_tokens: Count = 1_000_000


class SparsityConfig(BaseModel):
    """How few weights stay: the same fraction of every matrix, reached linearly.

    ``l0_fraction`` 1 trains a dense model. ``min_nonzeros`` is the paper's j.
    """

    model_config = _FINITE
    l0_fraction: Fraction = 1.0
    anneal_until: Fraction = 0.5
    min_nonzeros: Annotated[int, Field(ge=0)] = 4


class OptimizerConfig(BaseModel):
    """AdamW with warm-up, linear decay and the sharkfin factor 1/√(L0 fraction)."""

    model_config = _FINITE
    lr: Annotated[float, Field(gt=0)]
    betas: tuple[Decay, Decay] = (0.9, 0.95)
    eps: Annotated[float, Field(gt=0)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    max_grad_rms: Annotated[float, Field(gt=0)] = 1.0
    warmup: Share = 0.01
    sharkfin: bool = True


class BridgeConfig(BaseModel):
    """Bridges to a dense checkpoint: how sparse an encoder's output is, and what each loss weighs.

    ``topk`` is the fraction of the residual channels that an encoder keeps. The weights multiply
    the mean normalised error over crossings, one for both ways, and the divergences of the hybrid
    passes, in nats; the sparse model's own loss weighs 1. ``lr`` and ``eps`` are the bridges' own,
    with the run's warm-up and decay. ``dense`` is set by ``--bridge-to``.
    """

    model_config = _FINITE
    topk: Fraction = 0.25
    nmse: Weight = 1.0
    kl_to_sparse: Weight = 1.0
    kl_to_dense: Weight = 1.0
    lr: Annotated[float, Field(gt=0)] = 0.01
    eps: Annotated[float, Field(gt=0)] = 1e-6
    dense: Named | None = None


class RunConfig(BaseModel):
    """How long, in what batches, how often to look and to save (in steps), and where.

    ``stop_at_loss_nats`` ends the run at the first validation whose loss is no higher:
    so a dense model is matched to a sparse model.

    ``devices`` processes share each batch. ``matmul`` says what matrices are rounded to
    when they are multiplied; ``auto`` is bfloat16 where that is faster, ``tf32`` is for a GPU.
    """

    model_config = _FINITE
    n_tokens: Count
    stop_at_loss_nats: Annotated[float, Field(gt=0)] | None = None
    batch_sequences: Count = 64
    validate_every: Count = 250
    save_every: Count = 500
    device: str = "cpu"
    devices: Count = 1
    matmul: Literal["auto", "float32", "bfloat16", "tf32"] = "auto"

    @model_validator(mode="after")
    def _a_cpu_has_no_tf32(self) -> RunConfig:
        if self.matmul == "tf32" and not self.device.startswith("cuda"):
            raise ValueError(
                f"matmul is 'tf32', which device {self.device!r} does not have; make it 'auto'"
            )
        return self

    @model_validator(mode="after")
    def _every_device_has_as_many_rows(self) -> RunConfig:
        if self.batch_sequences % self.devices:
            raise ValueError(
                f"batch_sequences is {self.batch_sequences}, which {self.devices} devices cannot "
                "share evenly; make it a multiple of devices"
            )
        return self


class TrainingConfig(BaseModel):
    """Everything that decides the weights; the same config and machine give the same bytes."""

    model_config = _FINITE
    format: Literal["circuitkit.training/1"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    corpus: CorpusConfig
    architecture: Architecture
    sparsity: SparsityConfig = SparsityConfig()
    optimizer: OptimizerConfig
    bridge: BridgeConfig | None = None
    run: RunConfig

    @model_serializer(mode="wrap")
    def _newer_keys_only_if_set(self, handler: Callable[[Any], Any]) -> dict[str, Any]:
        return without_unset(handler(self), ("bridge",))

    @model_validator(mode="after")
    def _every_token_has_a_row(self) -> TrainingConfig:
        known, written = self.architecture.vocab_size, self.corpus.vocab_size
        if known < written:
            raise ValueError(
                f"architecture.vocab_size is {known}, but corpus.vocab_size is {written}; "
                "leave the former out, or make it as large"
            )
        return self

    @model_validator(mode="after")
    def _the_sample_has_a_row(self) -> TrainingConfig:
        kept, length = self.corpus.n_reference_tokens, self.architecture.n_ctx
        if kept < length:
            raise ValueError(
                f"corpus.n_reference_tokens is {kept}, less than one sequence of "
                f"architecture.n_ctx = {length}: means could be measured over nothing; raise it"
            )
        return self

    @property
    def tokens_per_step(self) -> int:
        """Tokens learned from in one step."""
        return self.run.batch_sequences * self.architecture.n_ctx

    @property
    def n_steps(self) -> int:
        """Steps of the whole run."""
        return max(1, self.run.n_tokens // self.tokens_per_step)


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> TrainingConfig:
    """Read a TOML file, or a shipped configuration by its name, and apply ``key=value`` overrides.

    Raises:
        ConfigError: if the file is missing or wrong, or a key unknown; the message
            names the key, the value and the nearest right key.

    Examples:
        >>> import circuitkit as ck
        >>> config = ck.load_config("tinypython-nano", ["run.n_tokens=1_000_000"])
        >>> config.run.n_tokens, config.architecture.n_layer
        (1000000, 2)
    """
    file = config_path(path)
    data = read_bounded(file, ConfigError, "a training configuration (.toml)", limit=2**20)
    try:
        raw = tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # more than TOML's own: thousands of digits
        raise ConfigError(f"{file} is not TOML: {error}. Fix the line it names.") from None
    for override in overrides:
        _apply(raw, override)
    corpus, architecture = raw.get("corpus"), raw.get("architecture")
    if isinstance(corpus, dict) and isinstance(architecture, dict):
        architecture.setdefault("vocab_size", corpus.get("vocab_size", DEFAULT_VOCAB_SIZE))
    try:
        return TrainingConfig.model_validate(_tuples(raw))
    except ValidationError as error:
        raise ConfigError(f"{file}: {first_problem(error)}{_hint(error)}") from None


def shipped_configs() -> dict[str, Path]:
    """The configurations the bundled checkpoints were trained with, by name."""
    return {file.stem: file for file in sorted((Path(__file__).parent / "configs").glob("*.toml"))}


def config_path(given: str | Path) -> Path:
    """A file as it stands, or the shipped configuration of that name."""
    return shipped_configs().get(str(given), Path(given))


def _tuples(value: Any) -> Any:
    """TOML has lists only; strict tuples want tuples."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override!r}: expected key=value, such as optimizer.lr=0.01")
    *sections, last = key.split(".")
    target = raw
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override!r}: {section} is a value, not a section")
    try:
        target[last] = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # text without quotes, or what no key takes
        target[last] = text


def _hint(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    if problem["type"] != "extra_forbidden":
        return ""
    model: Any = TrainingConfig
    for part in problem["loc"][:-1]:
        model = model.model_fields[part].annotation
        model = next((m for m in get_args(model) if m is not NoneType), model)
    near = difflib.get_close_matches(str(problem["loc"][-1]), model.model_fields, n=1, cutoff=0.3)
    return f". Did you mean {near[0]}?" if near else f". Known: {', '.join(model.model_fields)}."
