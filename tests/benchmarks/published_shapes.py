"""The two published shapes of Gao et al. 2025 at full size: seconds and memory to load them.

Usage: python tests/benchmarks/published_shapes.py [--in DIR]

Writes each as a folder of the public release with random weights to a temporary folder, one after
the other (0.6 and 1.7 GB), and loads it in a process of its own. Memory is the peak of that
process less what it had with the libraries imported.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from goal import tell

from circuitkit import load_checkpoint
from circuitkit.model import Architecture, Transformer

COMMON: dict[str, Any] = {
    "block_size": 256, "vocab_size": 2048, "n_head": 128, "rms_norm": True, "bias": True,
    "tied_unembed": False, "enable_bigram_table": True, "learnable_bigram_table": True,
}  # fmt: skip
EIGHT = "attn_in,attn_q,attn_k,attn_v,attn_out,mlp_in,mlp_neuron,mlp_out"
SHAPES: dict[str, dict[str, Any]] = {
    "csp_yolo1": {"n_layer": 12, "d_model": 1024, "d_mlp": 4096, "d_head": 8},
    "csp_yolo2": {
        "n_layer": 8, "d_model": 2048, "d_mlp": 8192, "d_head": 16, "afrac": 0.25,
        "afrac_loctypes": EIGHT, "sink": True, "d_pos_emb": 32,
    },
}  # fmt: skip
N_NODES = {"csp_yolo1": 136_192, "csp_yolo2": 182_784}
MOST_MEMORY = 1.3


def build(folder: Path, name: str) -> None:
    """Write the release's two files; names and shapes are the engine's, which are the release's."""
    config = COMMON | SHAPES[name]
    arch = Architecture(
        vocab_size=2048, n_ctx=256, n_layer=config["n_layer"], d_model=config["d_model"],
        n_head=128, d_head=config["d_head"], d_mlp=config["d_mlp"], bigram_table=True,
        positions="concatenated" if "d_pos_emb" in config else "learned",
        d_position=config.get("d_pos_emb", 0), attention_sink=config.get("sink", False),
    )  # fmt: skip
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in Transformer(arch).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    weights = {key: 0.02 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    folder.mkdir(parents=True)
    (folder / "beeg_config.json").write_text(json.dumps(config))
    torch.save(weights, folder / "final_model.pt")


def memory(key: str) -> int:
    """Bytes of this process: ``VmRSS`` now, ``VmHWM`` at most so far."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition(f"{key}:")[2].split()[0]) * 1024


def load(folder: Path) -> dict[str, float]:
    """Load it, run one prompt, and tell the seconds and bytes it took."""
    before, start = memory("VmRSS"), time.perf_counter()
    checkpoint = load_checkpoint(folder)
    read = time.perf_counter()
    model = checkpoint.load_model()
    loaded = time.perf_counter()
    peak = memory("VmHWM") - before
    with torch.no_grad():
        assert model(torch.arange(256)[None]).isfinite().all()
    return {
        "recognise_seconds": read - start,
        "load_seconds": loaded - read,
        "peak_bytes": peak,
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "n_nodes": sum(checkpoint.architecture.widths.values()),
    }


def in_own_process(*arguments: str) -> str:
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(name: str, parent: Path) -> None:
    folder = parent / name
    in_own_process("--build", name, "--in", str(folder))
    n_bytes = (folder / "final_model.pt").stat().st_size
    found = json.loads(in_own_process("--load", name, "--in", str(folder)))
    assert found["n_nodes"] == N_NODES[name]
    share = found["peak_bytes"] / n_bytes
    sys.stdout.write(
        f"{name}: {found['n_parameters']:,} parameters, {n_bytes / 1e9:.2f} GB; recognised and "
        f"hashed in {found['recognise_seconds']:.1f} s, loaded in {found['load_seconds']:.1f} s; "
        f"peak {found['peak_bytes'] / 1e9:.2f} GB, {share:.2f} times the file\n"
    )
    tell(
        f"memory to load {name}, of the file ({found['load_seconds']:.1f} s)",
        f"≤ {MOST_MEMORY} ×",
        f"{share:.2f} ×",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in", dest="where", type=Path, default=None)
    parser.add_argument("--build", choices=SHAPES)
    parser.add_argument("--load", choices=SHAPES)
    options = parser.parse_args()
    if options.build:
        build(options.where, options.build)
    elif options.load:
        sys.stdout.write(json.dumps(load(options.where)))
    else:
        for name in SHAPES:
            with TemporaryDirectory(dir=options.where) as folder:
                measure(name, Path(folder))


if __name__ == "__main__":
    main()
