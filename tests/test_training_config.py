"""Laws of training configurations: every key is known, every value checked, errors say which."""

import pytest
from tiny_run import tiny_config

from circuitkit.errors import ConfigError
from circuitkit.training import load_config, shipped_configs


@pytest.fixture(scope="module")
def config_path(tmp_path_factory):
    return tiny_config(tmp_path_factory.mktemp("config"))


def test_every_shipped_configuration_loads():
    """By its name, which is also its file's."""
    assert "tinypython-nano" in shipped_configs()
    for name in shipped_configs():
        assert load_config(name).name == name


def test_overrides_reach_any_key(config_path):
    """Numbers, booleans, lists and text; the last one wins."""
    changed = load_config(
        config_path,
        [
            *("optimizer.lr=0.5", "optimizer.lr=0.25", "optimizer.sharkfin=false"),
            *("optimizer.betas=[0.5, 0.75]", "run.device=cuda", 'name="other"', "seed=8"),
            *("architecture.n_ctx=8", 'architecture.activation_topk."attn.q"=0.25'),
        ][:8],
    )
    assert (changed.optimizer.lr, changed.optimizer.sharkfin) == (0.25, False)
    assert (changed.optimizer.betas, changed.run.device) == ((0.5, 0.75), "cuda")
    assert (changed.name, changed.seed, changed.architecture.n_ctx) == ("other", 8, 8)
    assert changed.tokens_per_step == 32
    assert changed.n_steps == 12


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("optimizer.lrr=0.1", r"optimizer\.lrr: Extra inputs .*got 0\.1\. Did you mean lr\?"),
        ("optimiser.lr=0.1", r"optimiser: Extra inputs .*\. Did you mean optimizer\?"),
        ("architecture.n_layers=2", r"architecture\.n_layers: .*\. Did you mean n_layer\?"),
        ("run.zzzz=1", r"run\.zzzz: .*\. Known: n_tokens, stop_at_loss_nats"),
        ("optimizer.lr=high", r"optimizer\.lr: Input should be a valid number; got 'high'"),
        ("optimizer.lr=-1", r"optimizer\.lr: .*greater than 0; got -1"),
        ("optimizer.betas=[0.9, 1.0]", r"optimizer\.betas\.1: .*less than 1; got 1\.0"),
        ("run.n_tokens=0", r"run\.n_tokens: .*; got 0"),
        ("run.n_tokens=1.5", r"run\.n_tokens: .*integer.*; got 1\.5"),
        ("sparsity.l0_fraction=0", r"sparsity\.l0_fraction: .*greater than 0"),
        (
            "corpus.n_reference_tokens=15",
            r"n_reference_tokens is 15, less than one sequence of architecture\.n_ctx = 16",
        ),
        ("corpus=3", r"corpus: Input should be .*; got 3"),
        ("architecture=3", r"architecture: Input should be .*; got 3"),
        ("corpus.vocab_size=65537", r"corpus\.vocab_size: .*; got 65537"),
        (
            "architecture.vocab_size=279",
            r"architecture\.vocab_size is 279, but corpus\.vocab_size is",
        ),
        ("name=../x", r"name: .*match pattern.*; got '\.\./x'"),
        ("optimizer.lr", r"--set 'optimizer\.lr': expected key=value, such as optimizer\.lr=0\.01"),
        ("=3", r"--set '=3': expected key=value"),
        ("seed.x=3", r"--set 'seed\.x=3': seed is a value, not a section"),
    ],
)
def test_wrong_overrides_are_refused(config_path, override, match):
    """With the key, the value got and the nearest right key."""
    with pytest.raises(ConfigError, match=match):
        load_config(config_path, [override])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", r"bad\.toml: format: Field required"),
        ("a = [\n= 1", r"bad\.toml is not TOML: .*line 2.*Fix the line it names"),
        ("\xff", r"bad\.toml is not TOML: .*utf-8"),
        ('format = "circuitkit.training/2"', r"bad\.toml: format: .*'circuitkit\.training/1'"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text, match):
    """Where it is wrong is in the message."""
    (tmp_path / "bad.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=match):
        load_config(tmp_path / "bad.toml")


def test_a_missing_configuration_is_refused(tmp_path):
    """With what was expected."""
    with pytest.raises(ConfigError, match=r"no such file: .*x\.toml; expected a training config"):
        load_config(tmp_path / "x.toml")


def test_a_byte_order_mark_is_no_part_of_a_configuration(tmp_path, config_path):
    """Some editors put one before every text."""
    marked = tmp_path / "marked.toml"
    marked.write_bytes(b"\xef\xbb\xbf" + config_path.read_bytes())
    assert load_config(marked) == load_config(config_path)
