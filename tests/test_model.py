"""Laws of the engine: the forward pass of the public release, sites, taps and the pair loss."""

import math

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny import (
    OPTIONS,
    encoded_pairs,
    random_tokens,
    random_values,
    tiny_architecture,
    tiny_model,
    tiny_tokenizer,
    token_pairs,
)
from torch.nn.functional import one_hot

from circuitkit.errors import TaskError
from circuitkit.model import (
    chain,
    encode_pairs,
    gate_tap,
    logit_differences,
    pair_losses,
    record_tap,
)
from circuitkit.nodes import FINAL_RESID, transformer_sites
from circuitkit.task import Pair, Prompt

SEEDS = (0, 1)


# An independent forward pass, written from the published model and the names on disk alone.


def explicit_logits(model, tokens):
    arch, w = model.arch, model.state_dict()
    seq = tokens.shape[1]
    wpe = w.get("transformer.wpe.weight")
    x = w["transformer.wte.weight"][tokens]
    x = x + wpe[:seq] if arch.positions == "learned" else x
    for i in range(arch.n_layer):
        here = f"transformer.h.{i}"

        def read(x, norm, here=here):
            a = explicit_norm(arch, w, f"{here}.ln_{norm}", x)
            if arch.positions != "concatenated":
                return a
            p = explicit_norm(arch, w, f"{here}.ln_p{norm}", wpe[:seq])
            return torch.cat([a, p[None].repeat(len(a), 1, 1)], -1)

        a = explicit_topk(arch, "attn.act_in", read(x, 1))
        qkv = linear(w, f"{here}.attn.c_attn", a).split(arch.n_head * arch.d_head, -1)
        q, k, v = (explicit_topk(arch, f"attn.{n}", t) for n, t in zip("qkv", qkv, strict=True))
        y = explicit_attention(arch, q, k, v, w.get(f"{here}.attn.attn_imp.sink_logit"))
        x = x + explicit_topk(arch, "attn.resid_delta", linear(w, f"{here}.attn.c_proj", y))
        m = explicit_topk(arch, "mlp.act_in", read(x, 2))
        h = explicit_topk(arch, "mlp.post_act", activation(arch, linear(w, f"{here}.mlp.c_fc", m)))
        x = x + explicit_topk(arch, "mlp.resid_delta", linear(w, f"{here}.mlp.c_proj", h))
    logits = explicit_norm(arch, w, "transformer.ln_f", x) @ w["lm_head.weight"].T
    logits = logits + w["final_logits_bias"]
    return logits + w["bigram_table"][tokens] if arch.bigram_table else logits


def linear(w, name, x):
    y = x @ w[f"{name}.weight"].T
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def explicit_norm(arch, w, name, x):
    if arch.norm == "none":
        return x
    eps = torch.finfo(torch.float32).eps if arch.norm_eps is None else arch.norm_eps
    if arch.norm == "rmsnorm":
        return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * w[f"{name}.weight"]
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def explicit_topk(arch, kind, x):
    if kind not in arch.activation_topk:
        return x
    chosen = x.abs().topk(int(arch.activation_topk[kind] * x.shape[-1]), -1).indices
    return torch.zeros_like(x).scatter(-1, chosen, x.gather(-1, chosen))


def explicit_attention(arch, q, k, v, sink):
    batch, seq, width = q.shape
    q, k, v = (t.reshape(batch, seq, arch.n_head, arch.d_head).transpose(1, 2) for t in (q, k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(arch.d_head)
    future = torch.ones(seq, seq, dtype=torch.bool).triu(1)
    scores = scores.masked_fill(future, -math.inf)
    if sink is not None:
        extra = sink[None, :, None, None].expand(batch, -1, seq, 1)
        scores = torch.cat([scores, extra], -1)
    weights = scores.softmax(-1)[..., :seq]
    return (weights @ v).transpose(1, 2).reshape(batch, seq, width)


def activation(arch, x):
    if arch.activation == "relu":
        return x.clamp(min=0)
    if arch.activation == "gelu":
        return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_forward_pass_is_that_of_the_specification(option, seed):
    """To 1e-5, for every architecture key, at every length."""
    model = tiny_model(option, seed)
    for length in (1, 4, model.arch.n_ctx):
        tokens = random_tokens(model.arch, 5, length, seed)
        expected = explicit_logits(model, tokens)
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(model(tokens), expected, atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize("option", ["plain", "sink", "bigram table", "norm none", "tied"])
def test_the_explicit_pass_would_notice(option):
    """A planted fault: one changed weight moves the logits by more than the tolerance."""
    model = tiny_model({"norm none": "no norm"}.get(option, option))
    tokens = random_tokens(model.arch, 5, 6)
    before = explicit_logits(model, tokens)
    parameters = dict(model.named_parameters())
    planted = {"sink": "transformer.h.1.attn.attn_imp.sink_logit", "bigram table": "bigram_table"}
    parameters[planted.get(option, "transformer.h.0.mlp.c_fc.weight")].add_(0.01)
    assert (model(tokens) - before).abs().max() > 1e-4


@pytest.mark.parametrize("option", OPTIONS)
def test_a_tap_sees_every_site_once_in_order_with_its_width(option):
    """8 n_layer + 1 sites, in the order of the forward pass."""
    model = tiny_model(option)
    seen = []
    model(random_tokens(model.arch, 3, 4), lambda site, x: seen.append((site, x.shape)) or x)
    assert [site for site, _ in seen] == list(transformer_sites(model.arch.n_layer))
    assert [(s, shape) for s, shape in seen] == [
        (s, (3, 4, w)) for s, w in model.arch.widths.items()
    ]
    assert len(seen) == 8 * model.arch.n_layer + 1


@pytest.mark.parametrize("option", OPTIONS)
def test_a_tap_fires_after_activation_topk(option):
    """Where a site has top-k, the tap sees that many nonzeros and no more."""
    model, store = tiny_model(option), {}
    model(random_tokens(model.arch, 3, 4), record_tap(store))
    for site, x in store.items():
        share = model.arch.activation_topk.get(site.kind, 1.0)
        most = x.count_nonzero(-1).max()
        assert most == int(share * x.shape[-1]) or (
            most <= share * x.shape[-1] and option == "relu"
        )


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("seed", SEEDS)
def test_keeping_every_node_is_the_model_itself(option, seed):
    """Bitwise, whatever the ablation values."""
    model = tiny_model(option, seed)
    tokens = random_tokens(model.arch, 4, 6, seed)
    ones = {site: torch.ones(width) for site, width in model.arch.widths.items()}
    kept = model(tokens, gate_tap(ones, random_values(model.arch, seed)))
    assert torch.equal(kept, model(tokens))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("seed", SEEDS)
def test_keeping_no_node_leaves_the_last_token_only(option, seed):
    """Bitwise the same logits for any prompts with the same last token, however long."""
    model = tiny_model(option, seed)
    zeros = {site: torch.zeros(width) for site, width in model.arch.widths.items()}
    tap = gate_tap(zeros, random_values(model.arch, seed))
    tokens = random_tokens(model.arch, 8, 7, seed)
    last = torch.tensor([0, 1, 2, 3, 4, 5, 6, 6])
    tokens[torch.arange(8), last] = 3
    logits = model(tokens, tap, last)[:, 0]
    assert all(torch.equal(row, logits[0]) for row in logits)
    tokens[torch.arange(8), last] = 4
    assert torch.equal(model(tokens, tap, last)[0, 0], logits[0]) != model.arch.bigram_table


def test_what_a_tap_returns_is_what_the_model_goes_on_with():
    """Writing over the last site decides the logits; ``chain`` runs taps in order."""
    model, store = tiny_model("plain"), {}
    tokens = random_tokens(model.arch, 2, 3)

    def nothing(site, x):
        return torch.zeros_like(x) if site == FINAL_RESID else x

    logits = model(tokens, chain(nothing, record_tap(store)))
    assert torch.equal(logits, model.final_logits_bias.expand_as(logits))
    assert not store[FINAL_RESID].any()
    model(tokens, chain(record_tap(store), nothing))
    assert store[FINAL_RESID].any()


@pytest.mark.parametrize("option", OPTIONS)
def test_the_future_changes_nothing(option):
    """The model is causal: other tokens later, the same logits before."""
    model = tiny_model(option)
    tokens = random_tokens(model.arch, 4, 7)
    other = tokens.clone()
    other[:, 4:] = random_tokens(model.arch, 4, 3, seed=9)
    assert torch.equal(model(tokens)[:, :4], model(other)[:, :4])


@pytest.mark.parametrize("option", OPTIONS)
def test_padding_changes_nothing_at_last(option):
    """Prompts of several lengths in one rectangle: each as if alone, whatever the padding."""
    model = tiny_model(option)
    tokens = random_tokens(model.arch, 5, 8)
    last = torch.tensor([0, 2, 3, 5, 7])
    together = model(tokens, None, last)
    assert together.shape == (5, 1, model.arch.vocab_size)
    for row, n in enumerate(last.tolist()):
        alone = model(tokens[row : row + 1, : n + 1])[0, -1]
        tolerance = 1e-5 * max(1.0, float(alone.abs().max()))  # without a norm logits are large
        torch.testing.assert_close(together[row, 0], alone, atol=tolerance, rtol=1e-5)
    torch.testing.assert_close(together[:, 0], model(tokens)[torch.arange(5), last])


def test_a_tied_unembedding_is_the_embedding():
    """One parameter, under one name."""
    model = tiny_model("tied")
    assert model.lm_head.weight is model.transformer.wte.weight
    assert "lm_head.weight" not in dict(model.named_parameters())


def test_shape_annotations_are_executed():
    """In tests a tensor of the wrong shape, or a float where integers belong, is refused."""
    model = tiny_model()
    with pytest.raises(BeartypeCallHintViolation, match="tokens"):
        model(torch.zeros(3, 4))
    with pytest.raises(BeartypeCallHintViolation, match="last"):
        model(random_tokens(model.arch, 3, 4), None, torch.zeros(3, 4, dtype=torch.long))
    with pytest.raises(BeartypeCallHintViolation, match="differences"):
        pair_losses(torch.zeros(2, 2))


# The architecture


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"n_layer": 0}, "n_layer"),
        ({"d_model": -1}, "d_model"),
        ({"d_model": 2**21}, "d_model"),
        ({"d_model": 8.0}, "d_model"),
        ({"norm": "batchnorm"}, "norm"),
        ({"norm_eps": 0.0}, "norm_eps"),
        ({"colour": "red"}, "colour"),
        ({"activation_topk": {"attn.z": 0.5}}, r"names 'attn\.z'; expected one of attn\.act_in"),
        ({"activation_topk": {"attn.q": 0.0}}, "greater than 0"),
        ({"activation_topk": {"attn.q": 1.5}}, "less than or equal to 1"),
        ({"activation_topk": {"attn.q": 0.01}}, r"keeps no channel of attn\.q: raise its fraction"),
        ({"positions": "concatenated"}, "d_position must be positive with concatenated"),
        ({"d_position": 3}, "d_position must be positive with concatenated positions, else 0"),
    ],
)
def test_contradictory_architectures_are_refused(changes, match):
    """The message names the key."""
    with pytest.raises(ValidationError, match=match):
        tiny_architecture(**changes)


def test_widths_are_those_of_the_table():
    """docs/extraction.md#circuit; two published shapes have the node counts reported of them."""
    concatenated = tiny_architecture("concatenated positions")
    found = {site.kind: width for site, width in concatenated.widths.items()}
    assert (found["attn.act_in"], found["mlp.act_in"]) == (11, 11)
    assert (found["attn.q"], found["mlp.post_act"], found["final_resid"]) == (8, 12, 8)
    big = {"vocab_size": 2048, "n_ctx": 256, "n_head": 128}
    yolo1 = tiny_architecture(**big, n_layer=12, d_model=1024, d_mlp=4096, d_head=8)
    yolo2 = tiny_architecture(
        **big,
        n_layer=8,
        d_model=2048,
        d_mlp=8192,
        d_head=16,
        positions="concatenated",
        d_position=32,
    )
    assert (sum(yolo1.widths.values()), sum(yolo2.widths.values())) == (136_192, 182_784)


# Pairs and their loss


def losses_of(*differences):
    return pair_losses(torch.tensor(differences, dtype=torch.float64))


@given(st.floats(-1e6, 1e6))
def test_a_predictor_blind_to_the_pair_loses_at_least_ln_2(d):
    """The same logits on both prompts give d_a = -d_b, and so at least ln 2 nats."""
    assert losses_of(d, -d).item() >= math.log(2) - 1e-12


def test_the_floor_is_reached_at_indifference():
    """d = 0 on both sides is exactly ln 2."""
    assert losses_of(0.0, 0.0).item() == pytest.approx(math.log(2), abs=1e-12)


def test_a_perfect_predictor_loses_nothing():
    """With d large on both sides; one side wrong by d costs d/2."""
    assert losses_of(1e3, 1e3).item() == 0
    assert losses_of(1e3, -1e3).item() == 500


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_the_loss_is_symmetric_and_falls_with_either_difference(a, b):
    """Swapping the sides changes nothing; being surer of the right answer never costs."""
    assert losses_of(a, b) == losses_of(b, a)
    assert losses_of(a + 1, b) <= losses_of(a, b)
    assert losses_of(a, b) >= 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_model_without_a_node_is_blind_when_the_last_tokens_agree(seed):
    """Its loss on such pairs is at least ln 2."""
    model = tiny_model("the paper's", seed)
    pairs = token_pairs(model.arch, 8, seed)
    ends = [
        Pair(
            a=Prompt(tokens=(*pair.a.tokens[:7], 5), answer=pair.a.answer),
            b=Prompt(tokens=(*pair.b.tokens[:6], 6, 5), answer=pair.b.answer),
            template="t",
        )
        for pair in pairs
    ]
    encoded = encode_pairs(ends, None, start_token=None, vocab_size=11, n_ctx=9)
    zeros = {site: torch.zeros(width) for site, width in model.arch.widths.items()}
    logits = model(encoded.tokens, gate_tap(zeros, random_values(model.arch)), encoded.last)[:, 0]
    assert (pair_losses(logit_differences(logits, encoded)) >= math.log(2) - 1e-6).all()


def test_differences_read_the_answer_against_the_foil():
    """The foil of a side is the other's answer; rows i and n + i are a pair."""
    arch = tiny_architecture()
    pairs = token_pairs(arch, 5)
    encoded = encoded_pairs(arch, 5)
    n = len(encoded)
    assert encoded.answers[:n].tolist() == [pair.a.answer for pair in pairs]
    assert torch.equal(encoded.foils, encoded.answers.roll(n))
    logits = one_hot(encoded.answers, arch.vocab_size).float()
    assert torch.equal(logit_differences(logits, encoded), torch.ones(2 * n))


@pytest.mark.parametrize("n_pairs", [1, 4, 99])
def test_a_run_by_length_tells_every_prompt_in_its_place(n_pairs):
    """Whatever the batches, and of several kinds of things at once."""
    encoded = encoded_pairs(tiny_architecture(), 9)
    assert encoded.by_length().tolist() != list(range(len(encoded)))

    def told(some):
        return torch.stack([some.last, some.tokens.sum(1)]).float()

    assert torch.equal(encoded.each(n_pairs, told), told(encoded))
    assert torch.equal(encoded.each(n_pairs, lambda some: told(some)[0]), told(encoded)[0])


def test_encoding_holds_every_prompt_behind_the_start_token():
    """Padded on the right; a choice of pairs takes both sides and no more width than it needs.

    A start token that a prompt begins with already is not put there again.
    """
    arch = tiny_architecture()
    pairs = [pair for pair in token_pairs(arch, 8) if max(map(len, prompts(pair))) < arch.n_ctx]
    encoded = encode_pairs(pairs, None, start_token=7, vocab_size=11, n_ctx=9)
    for chosen in (slice(None), slice(1, 2), torch.tensor([2, 0])):
        some = encoded[chosen]
        order = torch.arange(len(pairs))[chosen].tolist()
        expected = [pairs[i].a for i in order] + [pairs[i].b for i in order]
        rows = [t[: n + 1].tolist() for t, n in zip(some.tokens, some.last.tolist(), strict=True)]
        assert rows == [[7, *side.tokens[side.tokens[0] == 7 :]] for side in expected]
        assert some.tokens.shape[1] == max(map(len, rows))
        assert some.templates == tuple(pairs[i].template for i in order)
        assert some.answers.tolist() == [side.answer for side in expected]


def prompts(pair):
    return pair.a.tokens, pair.b.tokens


def pair_of(a=(1, 2), b=(2, 1), answers=(3, 4)):
    return Pair(
        a=Prompt(tokens=a, answer=answers[0]), b=Prompt(tokens=b, answer=answers[1]), template="t"
    )


def text_pair(a="ab", answers=("c", "d")):
    return Pair(
        a=Prompt(text=a, answer=answers[0]), b=Prompt(text="ba", answer=answers[1]), template="t"
    )


REFUSED = {
    "long": (pair_of(a=(1,) * 10), r"a prompt is 10 tokens, but .* at most 9: '1 1 1"),
    "long text": (text_pair(a="a" * 10), r"a prompt is 10 tokens, but .* at most 9: 'aaaaaaaaaa'"),
    "token": (pair_of(b=(1, 11)), r"token id 11 lies outside the checkpoint's vocabulary of 11"),
    "negative": (pair_of(b=(1, -1)), r"token id -1 lies outside the checkpoint's vocabulary of 11"),
    "answer": (pair_of(answers=(3, 99)), r"token id 99 lies outside"),
    "two tokens": (text_pair(answers=("c", "de")), r"the answer 'de' is 2 tokens .*\['d', 'e'\]"),
    "no token": (text_pair(answers=("c", "?")), r"the answer '\?' is 0 tokens"),
    "unreadable": (text_pair(a="??"), r"the prompt '\?\?' is no token at all"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_pairs_the_checkpoint_cannot_read_are_refused(fault):
    """The message shows the prompt or answer, and what was expected."""
    pair, match = REFUSED[fault]
    with pytest.raises(TaskError, match=match):
        encode_pairs([pair], tiny_tokenizer(), start_token=None, vocab_size=11, n_ctx=9)


def test_the_start_token_counts_towards_the_context():
    """Nine tokens fit a context of nine, but not behind a start token."""
    pair = pair_of(a=(1,) * 9)
    encode_pairs([pair], None, start_token=None, vocab_size=11, n_ctx=9)
    with pytest.raises(TaskError, match="a prompt is 10 tokens"):
        encode_pairs([pair], None, start_token=0, vocab_size=11, n_ctx=9)


def test_a_text_task_needs_a_tokenizer():
    """Without one only token ids can be read."""
    with pytest.raises(TaskError, match=r"the task is text, but the checkpoint has no tokenizer"):
        encode_pairs([text_pair()], None, start_token=None, vocab_size=11, n_ctx=9)
