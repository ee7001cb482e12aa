"""DICOM volumes as patients, studies and contrasts; the volumes are made up, no file is read."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mrsynth.index.corrections import IGNORE, Found
from mrsynth.index.dicom_cases import find_studies
from mrsynth.index.pick import pick_images
from mrsynth.io.walk import Ignored


@dataclass(frozen=True)
class Volume:
    """What `find_studies` looks at of a DicomVolume."""

    description: str
    series: str
    place: str = "dcm"
    patient: str = "ID7"
    study: str = "1.2.3"
    more: Mapping[str, Any] = field(default_factory=dict)
    b_s_mm2: float | None = None
    trace: bool = False
    shape: tuple[int, int, int] = (256, 256, 20)

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(Path("/data") / self.place / f"{self.series}-{i}.dcm" for i in range(20))

    person: str = ""
    site: str = ""
    in_plane_mm: float = 220.0

    @property
    def extent_mm(self) -> tuple[int, float, float]:
        step = float(self.tags["SpacingBetweenSlices"])
        return 2, -step * self.shape[2] / 2, step * self.shape[2] / 2

    @property
    def locator(self) -> Path:
        b = "" if self.b_s_mm2 is None else f",b={self.b_s_mm2:g}"
        return Path(f"/data/{self.place}#series={self.series}{b}")

    @property
    def tags(self) -> dict[str, Any]:
        plain = {"Modality": "MR", "SpacingBetweenSlices": 5.0, "StudyDate": "20200101"}
        return {**plain, "SeriesDescription": self.description, **self.more}


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch):
    """Return a function that indexes made-up volumes below /data."""

    def run(volumes: Sequence[Volume], ignored: Sequence[Ignored] = ()) -> list[Found]:
        fake = ModuleType("mrsynth.io.dicom.scan")
        fake.scan_dicom = lambda folder, workers: (list(volumes), list(ignored))  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "mrsynth.io.dicom.scan", fake)
        return pick_images(find_studies(Path("/data"))[0])

    return run


def used(found: Sequence[Found]) -> dict[str, str]:
    return {image.contrast: str(image.path) for image in found if image.contrast != IGNORE}


def test_a_study_is_a_case_whatever_the_folders(scan) -> None:
    found = scan(
        [Volume("T1", "3", "T1"), Volume("T2", "4", "T2/deep"), Volume("FLAIR", "5", "x", patient="ID8", study="9")]
    )
    assert {(f.patient, f.case, f.contrast) for f in found} == {
        ("ID7", "ID7", "t1"),
        ("ID7", "ID7", "t2"),
        ("ID8", "ID8", "flair"),
    }


def test_studies_of_a_patient_are_numbered_by_date(scan) -> None:
    later, first = {"StudyDate": "20210101"}, {"StudyDate": "20190101"}
    found = scan([Volume("T1", "3", study="9", more=later), Volume("T1", "3", study="8", more=first)])
    assert [(f.patient, f.case) for f in found] == [("ID7", "ID7-2"), ("ID7", "ID7-1")]


def test_without_patient_id_the_folders_say_who_it_is(scan) -> None:
    found = scan([Volume("T1", "3", "P5/visit1", patient=" "), Volume("T1", "3", "P6", patient="", study="4")])
    assert [f.patient for f in found] == ["P5", "P6"]
    assert [f.patient for f in scan([Volume("T1", "3", ".", patient="../../x")])] == ["x"]


def test_diffusion_by_b_value_in_any_order(scan) -> None:
    found = scan([Volume("ep2d_diff", "6", b_s_mm2=b) for b in (1000.0, 0.0, 500.0)])
    assert used(found) == {f"dwi_b{b}": f"/data/dcm#series=6,b={b}" for b in (1000, 0, 500)}


def test_what_is_ignored_stays_in_the_list(scan) -> None:
    found = scan([Volume("T1", "3")], [Ignored(Path("/data/loc.dcm"), "a localizer")])
    assert [(f.path.name, f.contrast, f.reason) for f in found if f.contrast == IGNORE] == [
        ("loc.dcm", IGNORE, "a localizer")
    ]


@pytest.mark.parametrize(
    ("better", "worse", "reason"),
    [
        (Volume("T1 sag", "3"), Volume("T1 sag MPR", "4"), "not reformatted"),
        (Volume("T1 sag", "3"), Volume("T1 x", "4", more={"ImageType": ["DERIVED", "SECONDARY"]}), "original"),
        (Volume("T1 sag", "3"), Volume("T1 tra", "4", more={"SpacingBetweenSlices": 2.0}), "covers more of the head"),
        (Volume("T1 sag", "3"), Volume("T1 tra", "4", shape=(128, 256, 20)), "more voxels"),
        (Volume("T2 tra", "3"), Volume("T2 tra KM", "4"), "before contrast agent"),
        (Volume("DWI", "3", b_s_mm2=500, trace=True), Volume("DWI", "4", b_s_mm2=500), "all directions"),
    ],
)
def test_two_series_of_one_contrast(scan, better: Volume, worse: Volume, reason: str) -> None:
    found = scan([worse, better])
    (path,) = used(found).values()
    assert "series=3" in path
    assert all(reason in image.reason for image in found)


def test_a_repeat_is_left_out_with_what_it_repeats(scan) -> None:
    found = scan([Volume("T1 tra", "3"), Volume("T1 tra", "4"), Volume("T2", "5")])
    assert list(used(found)) == ["t2"]
    assert "series 3 and series 4 both mean t1: keep one of them" in found[0].reason


def test_a_t1_after_the_contrast_agent_is_not_taken_for_one_before(scan) -> None:
    before, with_agent, after = (
        Volume("T1 tra", "3", more={"AcquisitionTime": "101500"}),
        Volume("T1 cor", "4", more={"AcquisitionTime": "102500.5", "ContrastBolusAgent": "Gd"}),
        Volume("T1 sag", "5", more={"AcquisitionTime": "103000"}),
    )
    found = scan([after, with_agent, before])
    assert {f.path.name[-1]: f.contrast for f in found} == {"3": "t1", "4": "t1ce", "5": IGNORE}
    assert "acquired after one with agent" in found[0].reason


def test_field_strength_in_tesla_or_gauss(scan) -> None:
    found = scan([Volume("T1", str(i), more={"MagneticFieldStrength": v}) for i, v in enumerate((3, "15000", "", -1))])
    assert [f.known for f in found] == [{"b0_tesla": 3}, {"b0_tesla": 1.5}, {}, {}]
