"""Interchange: put into the run on the other prompt of its pair, the circuit turns the answer.

Every node outside the circuit has its value on the other prompt, at aligned positions; the
circuit's nodes alone see this prompt. F of that run is F_x. A circuit that is sufficient while
all else is at its mean may still be outweighed by what the model does elsewhere: then the answer
is the other prompt's, and F_x is 0 or less.

The note of a circuit that does not pass names what outweighs it, and other nodes that do the
same between its reads and writes (REDUNDANT INSIDE). Source: docs/validation.md#interchange;
interchange interventions after Geiger et al. 2021.

What can fool it: a circuit of so many nodes that little is left outside: the whole model has
F_x = 1.
"""

from __future__ import annotations

from circuitkit.findings import Claim, Finding
from circuitkit.model.per_pair import hits_of, losses_of
from circuitkit.statistics.decision import Requirement, decide, joined
from circuitkit.statistics.intervals import proportion
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.outweighing import what_outweighs
from circuitkit.validation.redundant_inside import redundant_inside
from circuitkit.validation.trial import Trial

CLAIM = Declared(
    id=Claim.INTERCHANGE,
    suite="default",
    fooled_by="a circuit of so many nodes that little of the model is left outside",
)

F_LOW = 0.50
FOLLOWS = 0.90


def check_interchange(trial: Trial) -> Finding:
    """The lower bounds of F_x and of the share of prompts answered as the circuit's own."""
    differences = trial.interchanged
    f = trial.recovered(losses_of(differences), losses_of(trial.scored.model), trial.clusters)
    follows = proportion(hits_of(differences), trial.clusters, trial.seed)
    decision = decide(
        len(trial.pairs),
        Requirement(estimate=f, low=F_LOW),
        Requirement(estimate=follows, low=FOLLOWS),
    )
    why = () if decision.outcome == "pass" else _why(trial)
    return Finding(
        claim=CLAIM.id,
        outcome=decision.outcome,
        note=joined(
            f"F_x = {f}; the answer follows the circuit on {follows} of the prompts",
            *why,
            decision.note,
        ),
        **f.fields(),
        unit="F_x, all else as on the pair's other prompt",
        threshold=f"lower bound ≥ {F_LOW:.2f}, answers that follow ≥ {FOLLOWS:.2f}",
        threshold_source="docs/validation.md#interchange",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        fooled_by=CLAIM.fooled_by,
    )


def _why(trial: Trial) -> tuple[str, ...]:
    """Why the circuit does not turn the answer, in words."""
    was_asked = any(asked.ask == "interchange" for asked in trial.circuit.asks)
    never = "" if was_asked else "the search did not ask this of the circuit"
    return never, redundant_inside(trial), what_outweighs(trial)
