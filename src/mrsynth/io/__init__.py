"""io: NIfTI and DICOM files, folders of cases, the cohort table, its check, and the prepared cohort on disk."""

from mrsynth.io.case import read_case
from mrsynth.io.check import Problem, check_cohort
from mrsynth.io.cohort import CaseRow, Cohort, index_folder, split_patients
from mrsynth.io.found import Found, Ignored, found_table, write_found
from mrsynth.io.nifti import write_image
from mrsynth.io.prepared import PreparedCohort
from mrsynth.io.read import read_image, read_mask, read_prediction
from mrsynth.io.table import read_cohort, write_cohort

__all__ = [
    "CaseRow",
    "Cohort",
    "Found",
    "Ignored",
    "PreparedCohort",
    "Problem",
    "check_cohort",
    "found_table",
    "index_folder",
    "read_case",
    "read_cohort",
    "read_image",
    "read_mask",
    "read_prediction",
    "split_patients",
    "write_cohort",
    "write_found",
    "write_image",
]
