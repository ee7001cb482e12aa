"""io: NIfTI files, folders of cases, the cohort table, its check, and the prepared cohort on disk."""

from mrsynth.io.case import read_case
from mrsynth.io.check import Problem, check_cohort
from mrsynth.io.cohort import CaseRow, Cohort, index_folder, split_patients
from mrsynth.io.nifti import read_image, read_mask, write_image
from mrsynth.io.prepared import PreparedCohort
from mrsynth.io.table import read_cohort, write_cohort

__all__ = [
    "CaseRow",
    "Cohort",
    "PreparedCohort",
    "Problem",
    "check_cohort",
    "index_folder",
    "read_case",
    "read_cohort",
    "read_image",
    "read_mask",
    "split_patients",
    "write_cohort",
    "write_image",
]
