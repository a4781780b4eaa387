"""Laws of sites, nodes and sets of nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import WIDTHS, plain_sets, site_nodes, sites, small_nodes

from circuitkit.nodes import FINAL_RESID, PLACES, Edge, Node, NodeSet, Site, transformer_sites

ORDER = (
    *("0.attn.act_in", "0.attn.q", "0.attn.k", "0.attn.v", "0.attn.resid_delta"),
    *("0.mlp.act_in", "0.mlp.post_act", "0.mlp.resid_delta"),
)


@given(sites)
def test_parsing_undoes_writing_a_site(site):
    """Site.parse(str(site)) is the site."""
    assert Site.parse(str(site)) == site


@given(site_nodes)
def test_parsing_undoes_writing_a_node(node):
    """Node.parse(str(node)) is the node."""
    assert Node.parse(str(node)) == node


@given(st.text(max_size=20) | st.from_regex(r"\d+\.(attn|mlp)\.[a-z_]+:?\d*", fullmatch=True))
def test_what_parses_is_written_the_same(text):
    """A node has one name: str undoes whatever parse accepts, and parse raises ValueError alone."""
    for kind in (Site, Node):
        try:
            found = kind.parse(text)
        except ValueError:
            continue
        assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "attn.q",
            "0.attn",
            "0.attn.post_act",
            "0.mlp.q",
            "0.mlp.v",
            "00.attn.q",
            "-1.attn.q",
        ),
        *("0.attn.q ", " 0.attn.q", "0.attn.q\n", "0.ATTN.q", "final_resid.0", "0.final_resid"),
        *("12345.attn.q", "١.attn.q", "1٣.attn.q"),
    ],
)
def test_names_of_no_site_are_refused(text):
    """The message holds the text and says what a site looks like."""
    with pytest.raises(ValueError, match=r"no such site: .*; expected LAYER\.BLOCK\.PLACE such as"):
        Site.parse(text)


@pytest.mark.parametrize(
    "text",
    ["", ":3", "0.attn.q", "0.attn.q:", "0.attn.q:-1", "0.attn.q:01", "0.attn.q:1٣", "0.attn.q:x"],
)
def test_names_of_no_node_are_refused(text):
    """The message holds the text and says what a node looks like."""
    with pytest.raises(ValueError, match=r"no such (node: .*; expected SITE:CHANNEL|site: '')"):
        Node.parse(text)


@pytest.mark.parametrize("n_layer", [1, 2, 12])
def test_a_transformer_has_eight_sites_a_layer_and_one(n_layer):
    """In the order of the forward pass, which is also their sorted order."""
    found = transformer_sites(n_layer)
    assert len(found) == 8 * n_layer + 1
    assert list(found) == sorted(found)
    assert [str(site) for site in found[:8]] == list(ORDER)
    assert found[-1] == FINAL_RESID


def test_layers_are_ordered_as_numbers():
    """Layer 10 comes after layer 9, and the final site after both."""
    texts = ("10.attn.act_in", "final_resid", "9.mlp.resid_delta")
    assert [str(s) for s in sorted(map(Site.parse, texts))] == [texts[2], texts[0], texts[1]]


@given(st.lists(site_nodes))
def test_nodes_are_ordered_by_site_then_channel(found):
    """Sorting nodes follows the forward pass."""
    assert sorted(found) == sorted(found, key=lambda node: (node.site, node.channel))


def test_attention_channels_are_shown_by_head():
    """Head = channel // d_head; other nodes, or an unknown d_head, show their id."""
    assert Node.parse("10.attn.q:657").label(8) == "10.attn.q h82.c1"
    assert Node.parse("0.attn.v:0").label(16) == "0.attn.v h0.c0"
    assert Node.parse("0.attn.k:17").label() == "0.attn.k:17"
    for plain in ("0.attn.act_in:17", "0.mlp.post_act:17", "final_resid:17"):
        assert Node.parse(plain).label(16) == plain


def test_an_edge_reads_as_from_to_and_weight():
    """The text of an edge is short and signed."""
    edge = Edge(Node.parse("0.mlp.act_in:3"), Node.parse("0.mlp.post_act:1"), 1.23456)
    assert str(edge) == "0.mlp.act_in:3 -> 0.mlp.post_act:1 (+1.23)"


@given(plain_sets, plain_sets)
def test_the_algebra_is_that_of_sets(a, b):
    """| & - ^ <= < == and disjointness agree with Python's sets of Nodes."""
    left, right = NodeSet.of(a, WIDTHS), NodeSet.of(b, WIDTHS)
    assert set(left | right) == a | b
    assert set(left & right) == a & b
    assert set(left - right) == a - b
    assert set(left ^ right) == a ^ b
    assert (left <= right, left < right, left == right) == (a <= b, a < b, a == b)
    assert left.isdisjoint(right) == a.isdisjoint(b)
    assert left == a
    assert (len(left), bool(left)) == (len(a), bool(a))


@given(plain_sets, small_nodes)
def test_membership_is_that_of_sets(a, node):
    """A node is in the set or not; nothing else is ever in it."""
    kept = NodeSet.of(a)
    assert (node in kept) == (node in a)
    assert str(node) not in kept


@given(plain_sets, plain_sets)
def test_complement_laws(a, b):
    """~~a is a; a and ~a share nothing and make up everything; De Morgan."""
    left, right = NodeSet.of(a, WIDTHS), NodeSet.of(b, WIDTHS)
    assert ~~left == left
    assert not left & ~left
    assert left | ~left == NodeSet.full(WIDTHS)
    assert ~(left | right) == ~left & ~right


@given(plain_sets)
def test_a_set_iterates_in_the_order_of_the_pass_and_hashes_by_content(a):
    """Whatever order the nodes came in."""
    forwards, backwards = NodeSet.of(sorted(a)), NodeSet.of(sorted(a, reverse=True))
    assert list(forwards) == list(backwards) == sorted(a)
    assert hash(forwards) == hash(backwards)
    assert {forwards: 1}[backwards] == 1


@given(plain_sets)
def test_channels_and_nodes_say_the_same(a):
    """``channels`` rebuilds the set; sites without channels are left out."""
    kept = NodeSet.of(a)
    assert NodeSet(kept.channels) == kept
    assert all(kept[site] for site in kept.channels)
    assert sum(len(kept[site]) for site in WIDTHS) == len(a)


def test_a_complement_needs_widths():
    """Without knowing every node there is, ~ is an error that says what to give."""
    with pytest.raises(ValueError, match="complement of a NodeSet needs its widths"):
        ~NodeSet.of([Node.parse("0.attn.q:1")])


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("0.attn.q:4", "no node 0.attn.q:4: the site has 4 channels"),
        ("5.attn.q:0", "no node 5.attn.q:0: the site has 0 channels"),
    ],
)
def test_channels_outside_the_width_are_refused(name, match):
    """The message names the node and the width."""
    with pytest.raises(ValueError, match=match):
        NodeSet.of([Node.parse(name)], WIDTHS)


def test_negative_channels_are_refused():
    """With widths or without."""
    for widths in (None, WIDTHS):
        with pytest.raises(ValueError, match=r"no node final_resid:-1"):
            NodeSet({FINAL_RESID: [0, -1]}, widths)


def test_a_set_cannot_be_changed():
    """Neither its channels nor its widths."""
    kept = NodeSet({FINAL_RESID: [1]}, {FINAL_RESID: 2})
    for mapping in (kept.channels, kept.widths):
        with pytest.raises(TypeError, match="does not support item assignment"):
            mapping[FINAL_RESID] = (0,)


def test_the_places_are_eight():
    """Five of attention, three of the MLP."""
    assert [len(PLACES[block]) for block in PLACES] == [5, 3]
    assert repr(NodeSet({FINAL_RESID: [1, 2]})) == "NodeSet(2 nodes at 1 sites)"
