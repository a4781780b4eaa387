"""Studies: one question asked of many circuits, on this machine or on a cluster.

Here are the nouns, which need no torch; the verb is ``circuitkit.studies.run_study``.
"""

from circuitkit.studies.results import StudyResults, load_results
from circuitkit.studies.study_toml import Study, load_study, shipped_studies

__all__ = ["Study", "StudyResults", "load_results", "load_study", "shipped_studies"]
