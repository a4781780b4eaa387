"""Validation: a circuit and its checkpoint in, findings and a grade out.

One file a claim. Each says in its docstring what can fool it; the verdict is
their conjunction.
"""

from circuitkit.validation.search_trial import Sibling
from circuitkit.validation.suites import Thorough
from circuitkit.validation.validate import validate
from circuitkit.validation.validate_folder import validate_folder
from circuitkit.validation.verdict import grade_of

__all__ = ["Sibling", "Thorough", "grade_of", "validate", "validate_folder"]
