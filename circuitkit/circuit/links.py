"""Links between kept nodes that are not weights: the residual stream, and q with its k."""

from __future__ import annotations

from circuitkit.nodes import Node, NodeSet, Site


def residual_links(nodes: NodeSet) -> list[tuple[Node, Node]]:
    """Each write of the residual stream with every later read of the same channel."""
    writes = [node for node in nodes if node.site.place == "resid_delta"]
    reads = [node for node in nodes if node.site.place in ("act_in", "final_resid")]
    return [
        (write, read)
        for write in writes
        for read in reads
        if write.channel == read.channel and write.site < read.site
    ]


def head_pairs(nodes: NodeSet) -> list[tuple[Node, Node]]:
    """The kept q channels with the k channel they multiply."""
    queries = [node for node in nodes if node.site.kind == "attn.q"]
    keys = [Node(Site(q.site.layer, "attn", "k"), q.channel) for q in queries]
    return [(q, k) for q, k in zip(queries, keys, strict=True) if k in nodes]
