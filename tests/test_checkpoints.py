"""Laws of checkpoint folders: what is saved is loaded, anything damaged is refused by name."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import (
    OPTIONS,
    random_tokens,
    tiny_architecture,
    tiny_checkpoint,
    tiny_model,
    tiny_tokenizer,
    token_pairs,
    write_over,
)

from circuitkit.checkpoints import bundled as bundled_module
from circuitkit.checkpoints import (
    bundled_checkpoints,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from circuitkit.checkpoints.bundled import recorded_checkpoint
from circuitkit.checkpoints.inspection import inspect_checkpoint
from circuitkit.checkpoints.native import checked_sample
from circuitkit.checkpoints.reference import load_reference
from circuitkit.errors import CheckpointError, TaskError
from circuitkit.extraction import measure_means
from circuitkit.model import Architecture
from circuitkit.task import Pair, Prompt

C_FC = "transformer.h.1.mlp.c_fc.weight"


@pytest.fixture
def folder(tmp_path):
    """A whole checkpoint, with a tokenizer."""
    return tiny_checkpoint(tmp_path / "tiny", text=True)


def edit_config(folder, **changes):
    path = folder / "config.json"
    raw = json.loads(path.read_text())
    for key, value in changes.items():
        target = raw if key in raw or key == "colour" else raw["architecture"]
        target[key] = value
    path.write_text(json.dumps(raw))


def edit_weights(folder, edit):
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("text", [False, True])
def test_loading_undoes_saving(tmp_path, option, text):
    """Weights bitwise, and everything beside them; the hash is stable."""
    folder = tiny_checkpoint(tmp_path / "tiny", option, text=text, seed=4)
    checkpoint, model = load_checkpoint(folder), tiny_model(option, 4)
    assert checkpoint.name == "tiny"
    assert checkpoint.architecture == model.arch
    assert (checkpoint.start_token, checkpoint.tokenizer is None) == (
        (0, False) if text else (None, True)
    )
    assert checkpoint.training == {"steps": 0}
    loaded = checkpoint.load_model()
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[n], v) for n, v in model.state_dict().items())
    assert torch.equal(checkpoint.load_reference().long(), random_tokens(model.arch, 20, 9, 4))
    tokens = random_tokens(model.arch, 3, 5)
    assert torch.equal(loaded(tokens), model(tokens))
    assert load_checkpoint(str(folder)).sha256 == checkpoint.sha256
    again = tiny_checkpoint(tmp_path / "again", option, text=text, seed=4)
    assert load_checkpoint(again).sha256 == checkpoint.sha256


def test_a_loaded_model_is_ready_to_run(folder):
    """In float32 and evaluation mode, without gradients on its weights."""
    model = load_checkpoint(folder).load_model()
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert {p.dtype for p in model.parameters()} == {torch.float32}


CASTS = {
    torch.float16: "float16, read as float32: exact",
    torch.bfloat16: "bfloat16, read as float32: exact",
    torch.float64: "float64, read as float32: rounded, and below 1e-45 to zero",
}


@pytest.mark.parametrize("dtype", CASTS)
def test_other_floats_come_as_float32_and_inspect_says_so(folder, dtype):
    """Activation top-k flips on rounding, so nothing runs below float32."""
    edit_weights(folder, lambda t: t.update({C_FC: t[C_FC].to(dtype)}))
    checkpoint = load_checkpoint(folder)
    stored = load_file(folder / "model.safetensors")
    weight = checkpoint.load_model().state_dict()[C_FC]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, stored[C_FC].float())
    said = f"1 of {len(stored)} tensors are stored as {CASTS[dtype]}"
    assert said in inspect_checkpoint(checkpoint)["warnings"]


NO_WEIGHTS = (torch.int8, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn)


@pytest.mark.parametrize("dtype", NO_WEIGHTS)
def test_numbers_that_are_no_weights_are_refused_by_type(folder, dtype):
    """A quantised model's codes would run as weights of another size, without a word."""
    edit_weights(folder, lambda t: t.update({C_FC: t[C_FC].to(dtype)}))
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(
        CheckpointError,
        match=rf"1 tensor that cannot be weights; expected float32, .*first:\n  {C_FC} is {name}\n",
    ):
        load_checkpoint(folder).load_model()


def test_a_number_too_large_for_float32_is_refused(folder):
    """It is finite in the file; the message does not call the file damaged."""
    huge = torch.full((12, 8), 1e300, dtype=torch.float64)
    edit_weights(folder, lambda t: t.update({C_FC: huge}))
    with pytest.raises(CheckpointError, match=rf"{C_FC} holds 1e\+300, too large for float32"):
        load_checkpoint(folder).load_model()


def test_a_model_once_loaded_does_not_follow_its_file(folder):
    """The file may be written over in place."""
    model = load_checkpoint(folder).load_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    write_over(folder / "model.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_tied_unembedding_is_stored_once_and_loaded_as_one(tmp_path):
    """A file that stores it twice is read when both are the same, refused when they differ."""
    folder = tiny_checkpoint(tmp_path, "tied")
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    model = load_checkpoint(folder).load_model()
    assert model.lm_head.weight is model.transformer.wte.weight
    wte = model.transformer.wte.weight
    edit_weights(folder, lambda t: t.update({"lm_head.weight": wte.clone()}))
    assert torch.equal(load_checkpoint(folder).load_model().lm_head.weight, wte)
    edit_weights(folder, lambda t: t.update({"lm_head.weight": wte + 1}))
    with pytest.raises(
        CheckpointError, match=r"lm_head\.weight differs from transformer\.wte\.weight"
    ):
        load_checkpoint(folder).load_model()


@pytest.mark.parametrize(
    "name", sorted(tiny_model("everything", tied_unembedding=False).state_dict())
)
def test_editing_any_weight_changes_the_hash(tmp_path, name):
    """By one unit in the last place of one of them."""
    folder = tiny_checkpoint(tmp_path, "everything", tied_unembedding=False)
    before = load_checkpoint(folder).sha256

    def nudge(tensors):
        flat = tensors[name].flatten()
        flat[-1] = torch.nextafter(flat[-1], torch.tensor(9e9))
        tensors[name] = flat.view(tensors[name].shape)

    edit_weights(folder, nudge)
    assert load_checkpoint(folder).sha256 != before


def test_the_hash_covers_config_and_tokenizer_and_no_more(folder):
    """What decides the numbers, not how it was made or what it is measured on."""
    before = load_checkpoint(folder).sha256
    (folder / "training.json").write_text("{}")
    (folder / "reference.safetensors").unlink()
    assert load_checkpoint(folder).sha256 == before
    (folder / "tokenizer.json").write_text(tiny_tokenizer("jihgfedcba").to_str())
    second = load_checkpoint(folder).sha256
    edit_config(folder, norm_eps=0.5)
    assert len({before, second, load_checkpoint(folder).sha256}) == 3


def test_pairs_are_read_as_the_checkpoint_reads_them(folder):
    """Behind its start token, by its tokenizer; within its vocabulary."""
    checkpoint = load_checkpoint(folder)
    a, b = Prompt(text="abc", answer="d"), Prompt(text="cb", answer="e")
    encoded = checkpoint.encode([Pair(a=a, b=b, template="t")])
    assert encoded.tokens.tolist() == [[0, 1, 2, 3], [0, 3, 2, 0]]
    assert encoded.answers.tolist() == [4, 5]
    with pytest.raises(TaskError, match="tokens, but the checkpoint reads at most 9"):
        checkpoint.encode(token_pairs(tiny_architecture(n_ctx=20)))


# Damage


def lacking(*names):
    def edit(tensors):
        for name in names:
            del tensors[name]

    return edit


DAMAGED = {
    "missing": (lacking(C_FC), rf"lacks 1 tensor that config\.json .* for:\n  {C_FC} \(12, 8\)"),
    "two missing": (
        lacking(C_FC, "transformer.h.1.mlp.c_fc.bias"),
        r"lacks 2 tensors .*c_fc\.weight \(12, 8\), transformer\.h\.1\.mlp\.c_fc\.bias \(12,\)",
    ),
    "extra": (
        lambda t: t.update({"transformer.h.2.ln_1.weight": torch.ones(8)}),
        r"holds 1 tensor that .* does not know:\n  transformer\.h\.2\.ln_1\.weight \(8,\)",
    ),
    "misshapen": (
        lambda t: t.update({C_FC: t[C_FC].T.contiguous()}),
        rf"has 1 tensor of the wrong shape:\n  {C_FC} is \(8, 12\), expected \(12, 8\)",
    ),
    "NaN": (lambda t: t[C_FC].view(-1)[:1].fill_(float("nan")), rf"{C_FC} holds NaN or infinite"),
    "inf": (lambda t: t[C_FC].view(-1)[:1].fill_(float("inf")), rf"{C_FC} holds NaN or infinite"),
    "many": (
        lambda t: [t.pop(n) for n in list(t) if ".h.1." in n],
        r"lacks 10 tensors .*, … \(4 more\)\n  The config says n_layer = 2, d_model = 8\.",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_wrong_tensors_are_refused_by_name(folder, damage):
    """Each with its shape, and the shape expected."""
    edit, match = DAMAGED[damage]
    edit_weights(folder, edit)
    with pytest.raises(CheckpointError, match=rf"(?s)model\.safetensors.*{match}"):
        load_checkpoint(folder).load_model()


@pytest.mark.parametrize("missing", ["transformer.wte.weight", "lm_head.weight"])
def test_a_tied_file_without_its_embedding_is_refused(tmp_path, missing):
    """One tensor is missing, and only that one is named."""
    folder = tiny_checkpoint(tmp_path, "tied" if "wte" in missing else "plain")
    edit_weights(folder, lacking(missing))
    with pytest.raises(
        CheckpointError, match=rf"lacks 1 tensor that .*:\n  {missing} \(11, 8\)\n  The"
    ):
        load_checkpoint(folder).load_model()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
@pytest.mark.parametrize("name", ["model.safetensors", "reference.safetensors"])
def test_a_truncated_file_is_refused(folder, share, name):
    """At whatever byte it ends."""
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(share * len(data))])
    checkpoint = load_checkpoint(folder)
    with pytest.raises(CheckpointError, match=rf"{name} is not a whole safetensors file"):
        checkpoint.load_model() if name.startswith("model") else checkpoint.load_reference()


CONFIGS = {
    "unknown key": ({"colour": 1}, r"config\.json: colour: Extra inputs are not permitted; got 1"),
    "unknown inner": ({"n_mlp": 4}, r"config\.json: architecture\.n_mlp: Extra inputs"),
    "wrong type": ({"d_model": "8"}, r"architecture\.d_model: .*integer; got '8'"),
    "wrong format": ({"format": "x"}, r"format: .*'circuitkit\.checkpoint/1'; got 'x'"),
    "start token": ({"start_token": 11}, r"start_token 11 lies outside the vocabulary"),
    "negative start": ({"start_token": -1}, r"start_token: .*greater than or equal to 0"),
    "no layers": ({"n_layer": 0}, r"architecture\.n_layer: .*greater than or equal to 1"),
    "huge": ({"d_mlp": 2**40}, r"architecture\.d_mlp: .*less than or equal to"),
    "bad top-k": ({"activation_topk": {"q": 0.5}}, r"activation_topk names 'q'"),
}


@pytest.mark.parametrize("fault", CONFIGS)
def test_a_wrong_config_is_refused_with_where(folder, fault):
    """The key, the value got, and the format expected."""
    changes, match = CONFIGS[fault]
    edit_config(folder, **changes)
    with pytest.raises(CheckpointError, match=rf"{match}(?s:.*)Expected circuitkit\.checkpoint/1"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "training.json", "tokenizer.json"])
@pytest.mark.parametrize("data", [b"{", b"", b"\xff\xfe", b"[]"])
def test_corrupt_json_is_refused_by_file(folder, name, data):
    """Half a file, an empty one, bytes that are no text, a list."""
    (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("config.json", r"no such file: .*config\.json; expected a checkpoint folder"),
        ("model.safetensors", r"has no model\.safetensors; the checkpoint is incomplete"),
    ],
)
def test_an_incomplete_folder_is_refused(folder, name, match):
    """The message names the file."""
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(folder)


def test_weights_that_vanish_later_are_missed(folder):
    """Between loading the checkpoint and its model."""
    checkpoint = load_checkpoint(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no such file: .*model\.safetensors; .* incomplete"):
        checkpoint.load_model()


def test_a_folder_is_not_taken_for_the_bundled_checkpoint_of_its_name(tmp_path, monkeypatch):
    """A path is the folder; a bare name is refused where it could be either."""
    monkeypatch.chdir(tmp_path)
    name = next(iter(bundled_checkpoints()))
    assert load_checkpoint(name).sha256 == load_checkpoint(Path(name)).sha256
    for missing in (f"./{name}", f"{name}/"):
        with pytest.raises(CheckpointError, match="no such checkpoint"):
            load_checkpoint(missing)
    own = load_checkpoint(tiny_checkpoint(tmp_path / name)).sha256
    for given in (f"./{name}", f"{name}/", Path(name), str(tmp_path / name)):
        assert load_checkpoint(given).sha256 == own
    with pytest.raises(CheckpointError, match="is a bundled checkpoint, and a folder here holds"):
        load_checkpoint(name)
    assert recorded_checkpoint(name) == bundled_checkpoints()[name]


def test_names_that_are_neither_bundled_nor_a_folder_are_refused(tmp_path):
    """With what is bundled, and the nearest of it."""
    with pytest.raises(
        CheckpointError, match=r"no such checkpoint: .*nowhere; expected a folder or"
    ):
        load_checkpoint(tmp_path / "nowhere")
    for name in bundled_checkpoints():
        with pytest.raises(CheckpointError, match=rf"Did you mean {name}\?"):
            find_checkpoint(f"{name}x")


def test_what_a_wheel_leaves_out_says_how_to_get_it(tmp_path, monkeypatch):
    """A name that circuitkit can train, without its folder."""
    monkeypatch.setattr(bundled_module, "_FOLDER", tmp_path)
    with pytest.raises(CheckpointError, match=r"not part of this .* configuration of that name"):
        find_checkpoint("tinypython-bridged")


def test_every_bundled_checkpoint_loads():
    """Under its own name, with a tokenizer, a reference and a record of its training."""
    for name in bundled_checkpoints():
        checkpoint = load_checkpoint(name)
        assert checkpoint.name == name
        assert checkpoint.tokenizer is not None
        assert checkpoint.load_reference().numel() > 0
        assert checkpoint.training["config"]["name"] == name


def test_a_foreign_tokenizer_is_refused(folder):
    """One with ids the model has no rows for."""
    (folder / "tokenizer.json").write_text(tiny_tokenizer("abcdefghijk").to_str())
    with pytest.raises(
        CheckpointError, match=r"has token id 11, but config\.json says vocab_size = 11"
    ):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("tensors", "match"),
    [
        ({"tokens": torch.full((2, 3), 11)}, r"token ids from 11 to 11, expected 0 to 10"),
        ({"tokens": torch.full((2, 3), -1)}, r"token ids from -1 to -1, expected 0 to 10"),
        ({"tokens": torch.full((2, 3), 2**32)}, r"token ids from 4294967296 to 4294967296"),
        (
            {"tokens": torch.full((2, 3), 2**63, dtype=torch.uint64)},
            r"token ids from .* expected 0",
        ),
        (
            {"tokens": torch.ones(2, 3)},
            r"integers \(n, length ≤ 9\), got float32",
        ),
        ({"tokens": torch.ones(2, 3, dtype=torch.bool)}, r"got bool \(2, 3\)"),
        ({"tokens": torch.ones(2, 10, dtype=torch.long)}, r"length ≤ 9\), got .*\(2, 10\)"),
        ({"tokens": torch.ones(6, dtype=torch.long)}, r"integers .*\(6,\)"),
        ({"tokens": torch.ones(0, 3, dtype=torch.long)}, r"integers .*\(0, 3\)"),
        ({"ids": torch.ones(2, 3, dtype=torch.long)}, r"one tensor 'tokens', got ids"),
    ],
)
def test_a_wrong_reference_is_refused(folder, tensors, match):
    """Out of the vocabulary, no integers, too long, of another shape or name."""
    save_file(tensors, folder / "reference.safetensors")
    with pytest.raises(CheckpointError, match=rf"reference\.safetensors.*{match}"):
        load_checkpoint(folder).load_reference()


@pytest.mark.parametrize(
    "tokens",
    [
        torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool), torch.ones(6, dtype=torch.long),
        torch.ones(0, 3, dtype=torch.long), torch.ones(2, 10, dtype=torch.long),
        torch.full((2, 3), 11), torch.full((2, 3), -1), torch.full((2, 3), 2**16 + 5),
    ],
    ids=str,
)  # fmt: skip
def test_tokens_in_memory_are_refused_as_those_of_a_file_are(folder, tokens):
    """Wherever a sample is taken: to measure over, to extract with, to save."""
    checkpoint = load_checkpoint(folder)
    model = checkpoint.load_model()
    takers = [lambda: checked_sample(tokens, model.arch)]
    if tokens.ndim == 2 and tokens.dtype == torch.long:  # what the shapes of these tests let by
        takers += [
            lambda: load_reference(checkpoint, tokens),
            lambda: measure_means(model, tokens),
            lambda: save_checkpoint(folder.parent / "other", model, name="x", reference=tokens),
        ]
    for take in takers:
        with pytest.raises(CheckpointError, match=r"^reference"):
            take()
    assert not (folder.parent / "other").exists()


def test_a_start_token_outside_the_vocabulary_is_not_saved(folder):
    """One message."""
    with pytest.raises(CheckpointError, match="start_token 11 lies outside the vocabulary"):
        save_checkpoint(folder, tiny_model(), name="x", start_token=11)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32, torch.int64])
def test_a_reference_of_any_integers_is_read(folder, dtype):
    """As int32."""
    tokens = torch.tensor([[0, 10, 3]]).to(dtype)
    save_file({"tokens": tokens}, folder / "reference.safetensors")
    found = load_checkpoint(folder).load_reference()
    assert found.dtype == torch.int32
    assert found.tolist() == [[0, 10, 3]]


def test_a_folder_without_a_reference_still_loads(folder):
    """Until the reference is asked for."""
    (folder / "reference.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"is missing: the checkpoint has no reference sample"
    ):
        load_checkpoint(folder).load_reference()


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "final_model.pt", "tokenizer.pkl"])
def test_a_pickle_in_the_folder_is_never_opened(folder, name):
    """Beside the weights, or in their place."""
    bomb = pickle.dumps(Bomb())
    (folder / name).write_bytes(bomb)
    load_checkpoint(folder).load_model()
    (folder / "model.safetensors").write_bytes(bomb)
    with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
        load_checkpoint(folder).load_model()


def test_saving_over_a_checkpoint_leaves_none_while_it_lasts(folder, monkeypatch):
    """Config goes first and comes last, so that old and new are never taken for one."""
    model = tiny_model(seed=9)

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("circuitkit.checkpoints.native.write_whole", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(folder, model, name="new")
    with pytest.raises(CheckpointError, match=r"no such file: .*config\.json"):
        load_checkpoint(folder)


def test_saving_over_a_checkpoint_leaves_nothing_of_the_old(folder):
    """A tokenizer or reference that the new one does not have is not inherited."""
    save_checkpoint(folder, tiny_model(seed=9), name="new")
    checkpoint = load_checkpoint(folder)
    assert (checkpoint.tokenizer, checkpoint.training) == (None, None)
    with pytest.raises(CheckpointError, match="is missing"):
        checkpoint.load_reference()


def test_the_architecture_survives_as_it_was_given(tmp_path):
    """Every key is written, defaults too."""
    folder = tiny_checkpoint(tmp_path, "everything")
    raw = json.loads((folder / "config.json").read_text())["architecture"]
    assert set(raw) == set(Architecture.model_fields)


def test_no_pairs_are_nothing_to_encode(folder):
    """One message."""
    with pytest.raises(TaskError, match="no pairs to ask"):
        load_checkpoint(folder).encode([])
