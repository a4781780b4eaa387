"""Validation: a circuit and its checkpoint in, findings and a grade out.

Each claim has one file, whose docstring says what can fool it. The verdict is their
conjunction. Definitions: docs/validation.md.
"""

from circuitkit.validation.search_trial import Sibling
from circuitkit.validation.suites import Thorough
from circuitkit.validation.validate import validate
from circuitkit.validation.validate_folder import validate_folder
from circuitkit.validation.verdict import grade_of

__all__ = ["Sibling", "Thorough", "grade_of", "validate", "validate_folder"]
