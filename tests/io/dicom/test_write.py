from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.uid import UID, CTImageStorage
from scipy.spatial.transform import Rotation

import dicom_factory as factory
from dicom_checks import dciodvfy_errors, iod_problems, read, run
from mrsynth.core.errors import InputError, OutputError
from mrsynth.core.image import Image
from mrsynth.index.find import index_folder
from mrsynth.io import read_image
from mrsynth.io.dicom.sheet import Maker
from mrsynth.io.dicom.write import write_dicom
from mrsynth.io.synthetic import why_synthetic

MAKER = Maker("osman2022", "ab" * 32, ("t1",), (0.0, 1.0))
GOOD = {"StudyDate": "20200102", "PatientSex": "F", "FrameOfReferenceUID": "1.2.3.9", "Manufacturer": "Acme"}


def prediction(like: Path, seed: int = 0) -> Image:
    image = read_image(like, "t1")
    data = np.cumsum(np.random.default_rng(seed).random(image.data.shape, np.float32), axis=0)
    data = (data - data.min()) / np.ptp(data)
    return replace(image, data=data, contrast="flair")


def values_of(path: Path) -> np.ndarray:
    """Stored values as the file's own mapping means them, read with pydicom alone: (row, column) or (frame, …)."""
    data = read(path)
    groups = data.get("SharedFunctionalGroupsSequence", [data])[0]
    mapping = groups.RealWorldValueMappingSequence[0]
    return data.pixel_array * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    factory.series(tmp_path / "t1", factory.stored((16, 12, 4)), **GOOD)
    return tmp_path / "t1"


def written(scan: Path, image: Image | None = None, **options: Any) -> list[Path]:
    return write_dicom(image or prediction(scan), scan, scan.parent / "out", MAKER, **options)


@pytest.mark.parametrize("multi_frame", [False, True])
@pytest.mark.parametrize("compress", [False, True])
def test_conforms_to_the_standards_tables_and_to_dciodvfy(scan: Path, multi_frame: bool, compress: bool) -> None:
    if compress:
        pytest.importorskip("jpeg_ls", reason="pyjpegls is not installed")
    files = written(scan, multi_frame=multi_frame, compress=compress)
    assert len(files) == (1 if multi_frame else 4)
    assert [problem for file in files for problem in iod_problems(read(file))] == []
    assert [error for file in files for error in dciodvfy_errors(file)] == []


def test_the_check_by_tables_can_fail(scan: Path) -> None:
    data = read(written(scan)[0])
    del data.InstanceNumber
    data.ScanningSequence, data.KVP = "", 120
    problems = iod_problems(data)
    assert len(problems) == 3
    assert any("KVP" in problem for problem in problems)


def test_says_what_it_is(scan: Path) -> None:
    files = written(scan)
    for file, origin in zip(files, sorted(scan.iterdir()), strict=True):
        data, source = read(file), read(origin)
        assert (data.SyntheticData, list(data.ImageType)) == ("YES", ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"])
        assert data.SeriesDescription == "SYNTHETIC flair (mrsynth)"
        assert {"osman2022,", "ab" * 32} <= set(data.DerivationDescription.split())
        assert (data.StudyInstanceUID, data.FrameOfReferenceUID) == ("1.2.3.4", "1.2.3.9")
        assert (data.PatientID, data.PatientName, data.PatientSex) == ("P1", "Doe^Jane", "F")
        assert data.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        equipment = data.ContributingEquipmentSequence[0]
        assert (data.Manufacturer, equipment.Manufacturer) == ("mrsynth", "Acme")
        assert data.SeriesInstanceUID != source.SeriesInstanceUID
        assert (data.EchoTime, data.RepetitionTime, data.BitsStored) == (None, None, 12)
        assert not {"ProtocolName", "ContrastBolusAgent", "RescaleSlope"} & {element.keyword for element in data}


def test_an_error_map_is_a_series_of_its_own(scan: Path) -> None:
    image = prediction(scan)
    first = read(written(scan, image)[0])
    error = write_dicom(image, scan, scan.parent / "error", replace(MAKER, kind="error map"))
    second = read(error[0])
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert first.SeriesNumber != second.SeriesNumber
    assert (second.SeriesDescription, second.ImageType[-1]) == ("SYNTHETIC flair error map (mrsynth)", "ERROR MAP")
    assert iod_problems(second) == []


def test_again_gives_the_same_bytes_and_another_image_other_uids(scan: Path) -> None:
    first = [file.read_bytes() for file in written(scan)]
    assert [file.read_bytes() for file in written(scan)] == first
    uids = {read(file).SOPInstanceUID for file in written(scan)}
    others = {read(file).SOPInstanceUID for file in written(scan, prediction(scan, seed=1))}
    assert len(uids | others) == 8


@pytest.mark.parametrize("multi_frame", [False, True])
def test_no_value_is_off_by_more_than_half_a_level(scan: Path, multi_frame: bool) -> None:
    image = prediction(scan)
    files = written(scan, image, multi_frame=multi_frame)
    found = np.concatenate([values_of(file).reshape(-1, 12, 16) for file in files])
    assert found.shape == (4, 12, 16)
    wanted = image.data[::-1, ::-1].transpose(2, 1, 0)  # the scan is stored L P S
    assert np.abs(found - wanted).max() <= 0.5 / 4095 + 1e-6
    back = read_image(files[0].parent, "flair")
    assert np.abs(back.data - image.data).max() <= 0.5 / 4095 + 1e-6


def test_jpeg_ls_loses_nothing(scan: Path) -> None:
    pytest.importorskip("jpeg_ls", reason="pyjpegls is not installed")
    plain = [read(file).pixel_array for file in written(scan)]
    packed = written(scan, compress=True)
    assert all(read(file).file_meta.TransferSyntaxUID.endswith(".4.80") for file in packed)
    assert np.array_equal([read(file).pixel_array for file in packed], plain)
    assert read_image(packed[0].parent, "flair").data.shape == (16, 12, 4)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(st.floats(-60, 60), st.floats(-60, 60), st.floats(-180, 180)),
    st.sampled_from([factory.AXIAL, factory.SAGITTAL, factory.CORONAL]),
    st.floats(0, 0.3),
    st.booleans(),
)
def test_lies_where_the_scan_lies_for_the_product_and_for_itk(
    tmp_path: Path, angles: tuple[float, float, float], axes: np.ndarray, tilt: float, multi_frame: bool
) -> None:
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    turned = axes @ Rotation.from_euler("xyz", angles, degrees=True).as_matrix().T
    factory.series(folder / "t1", axes=turned, step=3 * turned[2] + tilt * turned[1], **GOOD)
    image = prediction(folder / "t1")
    files = write_dicom(image, folder / "t1", folder / "out", MAKER, multi_frame=multi_frame)
    data = read(files[0])
    if not multi_frame:
        texts = [data[k].value for k in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")]
        assert all(len(str(text)) <= 16 for value in texts for text in value)
    back = read_image(folder / "out", "flair")
    assert np.abs(back.affine - image.affine).max() <= 1e-4
    if tilt or multi_frame:  # ITK's series reader knows no sheared grid
        return
    theirs = _itk(files)
    assert image.native is not None
    corners = np.array([[i, j, k] for i in (0, 5) for j in (0, 4) for k in (0, 3)])
    own = nib.affines.apply_affine(image.native.affine, corners) * (-1, -1, 1)
    assert np.abs([theirs.TransformIndexToPhysicalPoint(c.tolist()) for c in corners] - own).max() <= 1e-4


def _itk(files: list[Path]) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(files[0].parent)))
    return reader.Execute()


@pytest.mark.parametrize("multi_frame", [False, True])
def test_lies_where_the_scan_lies_for_dcm2niix(tmp_path: Path, multi_frame: bool) -> None:
    turned = factory.AXIAL @ Rotation.from_euler("xyz", (10, -20, 5), degrees=True).as_matrix().T
    factory.series(tmp_path / "t1", factory.stored((16, 12, 8)), axes=turned, **GOOD)
    image = prediction(tmp_path / "t1")
    write_dicom(image, tmp_path / "t1", tmp_path / "out", MAKER, multi_frame=multi_frame)
    (tmp_path / "nifti").mkdir()
    said = run(["dcm2niix", "-f", "x", "-o", str(tmp_path / "nifti"), str(tmp_path / "out")])
    found = list((tmp_path / "nifti").glob("*.nii"))
    assert len(found) == 1, said.stdout
    theirs = read_image(found[0], "flair")
    assert np.abs(theirs.affine - image.affine).max() <= 1e-4
    assert np.array_equal(theirs.data, np.rint(image.data * 4095))  # it applies the mapping to Philips' images alone


BAD: dict[str, dict[str, Any]] = {
    "a sex that is none": {"PatientSex": "0000"},
    "dates that are none": {"PatientBirthDate": "unknown", "StudyDate": "2020-13-77"},
    "no weight": {"PatientWeight": "0", "PatientSize": "0"},
    "a weight that is none": {"PatientWeight": DataElement("PatientWeight", "LO", "heavy")},
    "a long name": {"PatientName": "x" * 300, "StudyID": "y" * 40},
    "no UIDs": {"StudyInstanceUID": "", "FrameOfReferenceUID": ""},
    "UIDs that are none": {"StudyInstanceUID": "1.2.x", "FrameOfReferenceUID": "../../etc"},
    "a character set that is none": {"SpecificCharacterSet": "UTF-9", "PatientName": "Müller^Jörg"},
    "another character set": {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"},
    "no thickness": {"SliceThickness": None},
    "a position that is none": {"PatientPosition": "upside down"},
    "nothing of the patient": {"PatientName": None, "PatientID": None},
    "markup": {"PatientName": "<script>alert(1)</script>", "StudyDescription": "<b>x</b>"},
}


@pytest.mark.parametrize("tags", BAD.values(), ids=BAD)
@pytest.mark.parametrize("multi_frame", [False, True])
def test_bad_values_of_the_source_are_repaired_not_refused(
    tmp_path: Path, tags: dict[str, Any], multi_frame: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        factory.series(tmp_path / "t1", **GOOD | tags)
    files = written(tmp_path / "t1", multi_frame=multi_frame)
    data = read(files[0])
    assert iod_problems(data) == []
    assert all(UID(uid).is_valid and uid for uid in (data.StudyInstanceUID, data.FrameOfReferenceUID))
    assert data.get("PatientSex") in ("", "F", None)
    if "SpecificCharacterSet" not in tags:
        assert dciodvfy_errors(files[0]) == []
    if tags.get("SpecificCharacterSet") == "ISO_IR 100":
        assert str(data.PatientName) == "Müller^Jörg"


def test_of_an_enhanced_source(tmp_path: Path) -> None:
    source = factory.enhanced(tmp_path / "in" / "t1.dcm", **GOOD)
    image = prediction(source)
    for multi_frame in (False, True):
        files = write_dicom(image, source, tmp_path / "out", MAKER, multi_frame=multi_frame)
        assert [problem for file in files for problem in iod_problems(read(file))] == []
        assert np.abs(read_image(tmp_path / "out", "flair").affine - image.affine).max() <= 1e-4
    first = read(files[0]).PerFrameFunctionalGroupsSequence[1].DerivationImageSequence[0].SourceImageSequence[0]
    assert (first.ReferencedFrameNumber, first.ReferencedSOPInstanceUID) == (2, read(source).SOPInstanceUID)


def test_of_a_ct(tmp_path: Path) -> None:
    factory.series(tmp_path / "ct", **GOOD, Modality="CT", SOPClassUID=CTImageStorage, RescaleSlope=1)
    data = read(written(tmp_path / "ct")[0])
    assert iod_problems(data) == []
    assert (data.Modality, data.SourceImageSequence[0].ReferencedSOPClassUID) == ("MR", CTImageStorage)


def test_of_averaged_directions_each_slice_names_all_its_sources(tmp_path: Path) -> None:
    for k in range(3):
        direction = np.eye(3)[k].tolist()
        tags = {"DiffusionBValue": 1000.0, "DiffusionGradientOrientation": direction, "SeriesDescription": "dwi"}
        factory.series(tmp_path / "dwi", factory.stored(low=1, seed=k), names=[f"{k}-{i}" for i in range(4)], **tags)
    image = replace(read_image(tmp_path / "dwi", "dwi"), contrast="adc")
    files = write_dicom(image, tmp_path / "dwi", tmp_path / "out", replace(MAKER, limits=None))
    assert [len(read(file).SourceImageSequence) for file in files] == [3] * 4
    assert iod_problems(read(files[0])) == []


def test_a_folder_of_scans_is_never_replaced(scan: Path) -> None:
    before = {path: path.read_bytes() for path in scan.iterdir()}
    with pytest.raises(OutputError, match="mrsynth did not write"):
        write_dicom(prediction(scan), scan, scan, MAKER)
    assert {path: path.read_bytes() for path in scan.iterdir()} == before


def test_what_cannot_be_written_is_said(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = prediction(scan)
    with pytest.raises(OutputError, match="NaN"):
        written(scan, image.with_data(np.full_like(image.data, np.nan)), multi_frame=False)
    with pytest.raises(OutputError, match="patient's grid"):
        written(scan, replace(image, data=image.data[1:]))
    with pytest.raises(OutputError, match="CT"):
        written(scan, replace(image, contrast="ct"))
    monkeypatch.setattr("mrsynth.io.dicom.write.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pyjpegls"):
        written(scan, compress=True)
    assert not (scan.parent / "out").exists()


def test_a_constant_image_is_written(scan: Path) -> None:
    image = prediction(scan)
    files = write_dicom(
        image.with_data(np.full_like(image.data, 7)), scan, scan.parent / "out", replace(MAKER, limits=None)
    )
    assert (values_of(files[0]) == 7).all()


@pytest.mark.parametrize("multi_frame", [False, True])
def test_whatever_an_archive_calls_it_it_is_never_a_scan(scan: Path, multi_frame: bool) -> None:
    for file in written(scan, multi_frame=multi_frame):
        data = read(file)
        data.SeriesDescription = "FLAIR tra"
        data.save_as(file)
    assert why_synthetic(scan.parent / "out") is not None
    rows = index_folder(scan.parent).rows
    assert [set(row.files) for row in rows] == [{"t1"}]
