"""The legend of the report: every term, outcome and grade that it uses, in a sentence."""

from __future__ import annotations

from circuitkit.views.findings_section import GRADES

TERMS = {
    "pair": "Two prompts, a and b, that differ in the cue. The right answer of each is the "
    "foil, the wrong answer, of the other.",
    "cue": "The tokens in which the two prompts of a pair differ.",
    "logit difference, d": "The logit of the answer less that of the foil, at the last token. "
    "Above 0 the answer is right.",
    "nats": "The unit of logits and losses, with natural logarithms.",
    "loss, floor": "The loss of a pair is −ln of the probability of the answer between answer and "
    "foil. One that cannot tell them apart has ln 2 = 0.693 nats: the floor.",
    "template": "A way to word the pair. Intervals are over templates, not pairs.",
    "node": "One number at one place of the model, such as 1.attn.v h3.c5: layer 1, a value of "
    "head 3, its number 5.",
    "channel": "One number of the residual stream, which all layers read from and add to.",
    "read (act_in), write (resid_delta)": "What a layer takes from a channel, and what it adds.",
    "q, k, v": "Query, key and value of a head: what it looks for, what is found, what is moved.",
    "neuron (post_act)": "A hidden number of an MLP.",
    "adds": "How much of d goes along a path, link or node. In a it speaks for a's answer when "
    "positive; in b for b's.",
    "constant, offset": "A constant node is the same in a and b. An offset favours the same answer "
    "in both.",
    "ablation": "A node is replaced by a value that does not come from the prompt: by its mean "
    "over text (mean), by 0 (zero), by its mean over the task (mean_task), by its value at random "
    "tokens, all nodes at the same (resample_joint) or each at another (resample_independent), or "
    "by its value in the other prompt of the pair (resample_pair).",
    "complement, knocked out": "The model with the circuit ablated.",
    "F": "The share of the model's gain over the floor that the circuit has: 1 as the model, 0 as "
    "the floor, below 0 worse than guessing.",
    "Nec": "The share of the model's ability that is lost when the circuit is ablated.",
    "location-matched, activity-matched": "Random sets of nodes to compare with: as many at each "
    "place, or nodes that vary about as much.",
    "1-minimal": "No single node can go without missing the target, or in a trusted circuit one of "
    "its asks.",
    "interval": "Two-sided, 90 %. A claim passes when all of it lies where it should.",
    "inconclusive": "The interval lies on both sides of the threshold: more pairs are needed.",
}


def terms() -> list[list[str]]:
    """Terms with their meaning, then the grades."""
    grades = [[f"grade {grade}", f"{said[0].upper()}{said[1:]}."] for grade, said in GRADES.items()]
    return [*([term, said] for term, said in TERMS.items()), *grades]
