"""Laws of folders that mean harm, or are damaged: one message, bounded memory, nothing run."""

import json
import os
import random
import shutil
import warnings
import zipfile

import pytest
import torch
from foreign_folders import (
    ADDED,
    CONCATENATED,
    GPT2,
    gpt2_tensors,
    write_gpt2,
    write_port,
    write_release,
    write_shards,
)
from test_foreign_text import CONFIGS, trained, write_pair
from test_special_files import KINDS, not_hanging, replaced

from circuitkit.checkpoints import load_checkpoint
from circuitkit.checkpoints.torch_file import read_torch_file
from circuitkit.errors import CheckpointError

C_FC = "transformer.h.1.mlp.c_fc.weight"
BIN = "pytorch_model.bin"


class Calls:
    """Saved, it is a call of anything with any arguments."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def view_of(storage, size, stride):
    """A tensor that says it is larger than what is stored for it."""
    rebuild = torch._utils._rebuild_tensor_v2
    with warnings.catch_warnings(action="ignore"):
        return Calls(rebuild, storage.storage(), 0, size, stride, False, {})


# torch's own files

HOSTILE = {
    "a call": (
        lambda t: t | {"x": Calls(pytest.fail, "a pickle was run")},
        r"is not read: it takes",
    ),
    "a shell": (
        lambda t: t | {"x": Calls(os.system, "true")},
        r"holds a posix\.system, which is not",
    ),
    "one number for all": (
        lambda t: t | {C_FC: torch.ones(1).expand(8, 32)},
        rf"{C_FC} is \(8, 32\), more numbers than are stored for it",
    ),
    "4 TB in four bytes": (
        lambda t: t | {C_FC: view_of(torch.ones(1), (2**20, 2**20), (0, 0))},
        rf"{C_FC} is \(1048576, 1048576\), more numbers than are stored",
    ),
    "beyond what is stored": (
        lambda t: t | {C_FC: view_of(torch.ones(4), (2**20, 2**20), (2**20, 1))},
        r"is not a whole file of torch\.save: RuntimeError: .*resize",
    ),
    "sparse": (lambda t: t | {C_FC: t[C_FC].to_sparse()}, rf"{C_FC} is no plain tensor"),
    "meta": (lambda t: t | {C_FC: t[C_FC].to("meta")}, rf"{C_FC} is no plain tensor .*meta"),
    "a number": (lambda t: t | {C_FC: 3}, r"holds .*; expected tensors by name"),
    "a name that is none": (lambda t: t | {7: torch.ones(1)}, r"expected tensors by name"),
    "a list": (lambda t: [*t.values()], r"holds a list; expected tensors by name"),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, fault):
    """Names, sizes and strides are looked at before a number is."""
    change, match = HOSTILE[fault]
    folder = write_gpt2(tmp_path / "model", GPT2, change(gpt2_tensors(GPT2)), BIN)
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(folder)


def test_tensors_that_share_their_numbers_are_refused(tmp_path):
    """Copies of them would be larger than the file, many times over."""
    stored = torch.ones(1000)
    tensors = {f"x{i}": stored[i:] for i in range(20)}
    folder = write_gpt2(tmp_path / "model", GPT2, tensors, BIN)
    with pytest.raises(CheckpointError, match=r"its tensors are \d+,\d+: they share their numbers"):
        load_checkpoint(folder)


def rewritten(path, **options):
    """The archive's entries, written again."""
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", **options) as new:
        for name, data in entries.items():
            new.writestr(name, data)


def test_a_packed_archive_is_refused(tmp_path):
    """A thousandfold of the file could come out of it."""
    folder = write_gpt2(tmp_path / "model", weights=BIN)
    rewritten(folder / BIN, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match=r"entries say [\d,]+, packed; expected what torch"):
        load_checkpoint(folder)


def test_an_archive_that_says_more_than_it_is_is_refused(tmp_path):
    """The sizes in its directory are not believed."""
    folder = write_gpt2(tmp_path / "model", weights=BIN)
    data = bytearray((folder / BIN).read_bytes())
    at = data.rindex(b"PK\x01\x02")  # the directory's last entry: size packed, then size unpacked
    data[at + 20 : at + 28] = (2**31 - 1).to_bytes(4, "little") * 2
    (folder / BIN).write_bytes(data)
    with pytest.raises(CheckpointError, match=r"entries say 2,\d\d\d,\d\d\d,\d\d\d; expected what"):
        load_checkpoint(folder)


def test_an_archive_of_other_files_is_refused(tmp_path):
    """Any zip is one."""
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(CheckpointError, match=r"x\.pt is not a whole file of torch\.save: "):
        read_torch_file(tmp_path / "x.pt")


# Files that are none

PLACES = {
    **dict.fromkeys(("config.json", "model.safetensors", "vocab.json", "merges.txt"), "GPT-2"),
    **dict.fromkeys(("beeg_config.json", "final_model.pt"), "release"),
    **dict.fromkeys(("model.safetensors.index.json", "model-00001-of-00002.safetensors"), "shards"),
    BIN: "bin",
    "tokenizer.json": "release",
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """A folder in each format, with tokenizers."""
    root = tmp_path_factory.mktemp("bases")
    write_gpt2(root / "GPT-2", CONFIGS["GPT-2"])
    write_pair(root / "GPT-2", trained("GPT-2"))
    write_release(root / "release", CONCATENATED | {"vocab_size": 300})
    trained("release").save(str(root / "release" / "tokenizer.json"))
    write_port(root / "port", ADDED)
    write_shards(root / "shards")
    write_shards(root / "shards of torch", kind="bin")
    write_gpt2(root / "bin", weights=BIN)
    return root


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PLACES)
def test_what_is_not_a_file_is_not_opened(tmp_path, bases, name, kind):
    """A pipe, a device, a socket, a directory in the place of any file of any format."""
    folder = tmp_path / "m"
    shutil.copytree(bases / PLACES[name], folder)
    path = replaced(folder / name, kind)
    with not_hanging(path), pytest.raises(CheckpointError, match=f"{name}: it is {KINDS[kind]}"):
        load_checkpoint(folder)


def test_a_link_to_a_file_is_read(tmp_path):
    """Downloads keep their files elsewhere, and link to them."""
    folder = write_gpt2(tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "blob")
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    load_checkpoint(folder).load_model()


# Configs

CONFIG_TEXTS = {
    "a key twice": ('{"model_type": "gpt2", "n_head": 2, "n_head": 4}', r"'n_head' is there twice"),
    "deep": ("[" * 100_000, r"config\.json"),
    "deep objects": ('{"a":' * 50_000, r"config\.json"),
    "a number of 5,000 digits": (f'{{"n_head": {"1" * 5000}}}', r"config\.json"),
    "a list": ("[]", r"config\.json"),
    "not UTF-8": (b"\xff", r"config\.json: not UTF-8"),
    "too large": (" " * (2**20 + 1), r"config\.json is 1,048,577 bytes"),
}


@pytest.mark.parametrize("name", ["config.json", "beeg_config.json"])
@pytest.mark.parametrize("fault", CONFIG_TEXTS)
def test_a_hostile_config_is_refused_by_file(tmp_path, name, fault):
    """Whatever its text is."""
    data, match = CONFIG_TEXTS[fault]
    folder = (write_release if name.startswith("beeg") else write_gpt2)(tmp_path / "model")
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(folder)


def test_a_model_larger_than_its_file_is_refused_before_it_is_made(tmp_path):
    """The sizes of a config are compared with the file, and nothing is allocated by them."""
    most = 2**20
    config = GPT2 | {"n_embd": most, "n_head": 1, "n_layer": 300, "n_inner": most}
    folder = write_gpt2(tmp_path / "model", config, gpt2_tensors(GPT2))
    with pytest.raises(CheckpointError, match=r"(?s)lacks \d+ tensors.*of the wrong shape"):
        load_checkpoint(folder)


# Damage

VALUES = (None, True, -1, 0, 3, 2**63, 1e308, float("nan"), "", "../x", "a" * 300, [], {}, [[]])


def damaged(data, dice):
    """Bytes flipped, cut, put in or taken out, where files keep their tables more often."""
    data = bytearray(data)
    n = len(data)
    at = dice.choice(
        [dice.randrange(n), dice.randrange(n) % 2000, n - 1 - dice.randrange(n) % 4000]
    )
    kind = dice.randrange(5)
    if kind == 0:
        data[at] = dice.randrange(256)
    elif kind == 1:
        data[at] ^= 1 << dice.randrange(8)
    elif kind == 2:
        del data[at:]
    elif kind == 3:
        del data[at : at + dice.choice([1, 8])]
    else:
        data[at:at] = dice.randbytes(3)
    return bytes(data)


def changed(text, dice):
    """An object with a value, or a key, of another kind."""
    found = json.loads(text)
    inner = found.get("weight_map", found)
    key = dice.choice([*inner])
    inner[dice.choice([key, "x"])] = dice.choice(VALUES)
    return json.dumps(found)


@pytest.mark.parametrize("base", ["GPT-2", "release", "port", "shards", "shards of torch", "bin"])
def test_damage_is_one_message_or_no_matter(tmp_path, bases, base):
    """Nothing but a CheckpointError comes out, whichever byte it is."""
    dice, n_refused = random.Random(base + os.environ.get("FUZZ_SEED", "")), 0
    names = sorted(path.name for path in (bases / base).iterdir())
    for _ in range(60):
        folder = tmp_path / "m"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(bases / base, folder)
        path = folder / dice.choice(names)
        if path.suffix == ".json" and dice.random() < 0.5:
            path.write_text(changed(path.read_text(), dice))
        else:
            path.write_bytes(damaged(path.read_bytes(), dice))
        try:
            load_checkpoint(folder).load_model()
        except CheckpointError:
            n_refused += 1
    assert n_refused > 10
