"""io: NIfTI and DICOM files, the cohort table, and the prepared cohort on disk."""

from mrsynth.io.case import read_case
from mrsynth.io.cohort import CaseRow, Cohort, split_patients
from mrsynth.io.nifti import write_image
from mrsynth.io.prepared import PreparedCohort
from mrsynth.io.read import read_image, read_mask, read_prediction
from mrsynth.io.table import read_cohort, write_cohort

__all__ = [
    "CaseRow",
    "Cohort",
    "PreparedCohort",
    "read_case",
    "read_cohort",
    "read_image",
    "read_mask",
    "read_prediction",
    "split_patients",
    "write_cohort",
    "write_image",
]
