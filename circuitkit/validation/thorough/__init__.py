"""The thorough suite: a validated circuit in, eleven more findings out.

One file a claim, each with what can fool it. Source: VALIDATION section 4.
"""

from collections.abc import Callable

from circuitkit.evidence import Claim, Finding
from circuitkit.validation.thorough.adversarial_restore import check_adversarial_restore
from circuitkit.validation.thorough.complete import check_complete
from circuitkit.validation.thorough.edge_sufficient import check_edge_sufficient
from circuitkit.validation.thorough.independence import check_independence
from circuitkit.validation.thorough.resample_independent import check_resample_independent
from circuitkit.validation.thorough.roles import check_roles
from circuitkit.validation.thorough.search_null import check_search_null
from circuitkit.validation.thorough.size_curve import check_size_curve
from circuitkit.validation.thorough.specific import check_specific
from circuitkit.validation.thorough.stable import check_stable
from circuitkit.validation.thorough.trial import Sibling, ThoroughTrial
from circuitkit.validation.thorough.worst_case import check_worst_case

THOROUGH_CHECKS: dict[Claim, Callable[[ThoroughTrial], Finding]] = {
    Claim.SEARCH_NULL: check_search_null,
    Claim.COMPLETE: check_complete,
    Claim.ROLES: check_roles,
    Claim.SPECIFIC: check_specific,
    Claim.STABLE: check_stable,
    Claim.WORST_CASE: check_worst_case,
    Claim.ADVERSARIAL_RESTORE: check_adversarial_restore,
    Claim.EDGE_SUFFICIENT: check_edge_sufficient,
    Claim.RESAMPLE_INDEPENDENT: check_resample_independent,
    Claim.INDEPENDENCE: check_independence,
    Claim.SIZE_CURVE: check_size_curve,
}
"""In the order of the suite."""

__all__ = ["THOROUGH_CHECKS", "Sibling", "ThoroughTrial"]
