from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.uid import BasicTextSRStorage, MediaStorageDirectoryStorage, SecondaryCaptureImageStorage

import dicom_factory as factory
from mrsynth.core.errors import InputError
from mrsynth.index.layouts import find_images
from mrsynth.io.dicom import scan as dicom_scan
from mrsynth.io.dicom.scan import DicomVolume, scan_dicom
from mrsynth.io.dicom.series import read_dicom
from mrsynth.io.locator import split_locator


def read(volume: DicomVolume) -> np.ndarray:
    """Return a volume's voxels through its own locator."""
    return read_dicom(*split_locator(volume.locator), "t1").data


def locators(folder: Path) -> list[str]:
    return [str(volume.locator.relative_to(folder.parent)) for volume in scan_dicom(folder)[0]]


def reasons(folder: Path) -> list[str]:
    volumes, ignored = scan_dicom(folder)
    assert not volumes
    return [item.reason for item in ignored]


def test_series_and_patients_mixed_in_one_folder(tmp_path: Path) -> None:
    home = tmp_path / "mixed"
    factory.series(home, factory.stored(seed=1), names=[f"{k}0" for k in range(4)])
    factory.series(
        home, factory.stored(seed=2), names=[f"{k}1" for k in range(4)], SeriesInstanceUID="1.5", SeriesNumber=5
    )
    factory.series(
        home / "Ünï ☃", factory.stored(seed=3), PatientID="P2", StudyInstanceUID="1.6", SeriesInstanceUID="1.7"
    )
    volumes, ignored = scan_dicom(home)
    assert not ignored
    assert [volume.patient for volume in volumes] == ["P1", "P1", "P2"]
    # Both patients have a series 3, and one lies inside the other's folder.
    assert locators(home) == ["mixed#series=1.2.3.4.1", "mixed#series=5", "mixed/Ünï ☃#series=1.7"]
    for volume, seed in zip(volumes, (1, 2, 3), strict=True):
        np.testing.assert_array_equal(np.sort(read(volume), None), np.sort(factory.stored(seed=seed), None))
        assert len(volume.files) == 4
        assert volume.frames == ()


def test_tags_for_recognition(tmp_path: Path) -> None:
    factory.series(
        tmp_path,
        EchoTime="98.5",
        RepetitionTime=DataElement(0x00180080, "LO", "long"),
        ContrastBolusAgent="Gadovist",
        SpecificCharacterSet="ISO_IR 192",
        PatientName="山田^太郎",
        SeriesDescription="T1 prés",
        ScanningSequence=["SE", "IR"],
    )
    (volume,), _ = scan_dicom(tmp_path)
    assert volume.tags["EchoTime"] == 98.5
    assert "RepetitionTime" not in volume.tags
    assert volume.tags["ScanningSequence"] == "SE\\IR"
    assert volume.tags["ContrastBolusAgent"] == "Gadovist"
    assert volume.description == volume.tags["SeriesDescription"] == "T1 prés"
    assert "Doe" not in repr(volume)
    assert "山田" not in repr(volume)


def test_tags_of_an_enhanced_file(tmp_path: Path) -> None:
    agent = pydicom.Dataset()
    agent.CodeMeaning = "Gadobutrol"
    factory.enhanced(tmp_path / "x", ContrastBolusAgentSequence=[agent])
    (volume,), _ = scan_dicom(tmp_path)
    assert volume.tags["EchoTime"] == 12
    assert volume.tags["RepetitionTime"] == 500
    assert volume.tags["ContrastBolusAgent"] == "Gadobutrol"


def private(group: int, creator: str, element: int, vr: str, value: object) -> Mapping[str, Any]:
    """Return what `put` cannot set: a private element, to be added by `write_shells`."""
    return {"private": (group, creator, element, vr, value)}


@pytest.mark.parametrize(
    "tag",
    [
        lambda b: {"DiffusionBValue": float(b)},
        lambda b: private(0x19, "SIEMENS MR HEADER", 0x0C, "IS", str(b)),
        lambda b: private(0x19, "SIEMENS MR HEADER", 0x0C, "UN", str(b).encode()),
        lambda b: private(0x2001, "Philips Imaging DD 001", 0x03, "FL", float(b)),
        lambda b: private(0x43, "GEMS_PARM_01", 0x39, "IS", [1000000000 + b, 8, 0, 0]),
        lambda b: private(0x65, "Image Private Header", 0x09, "FD", float(b)),
        lambda b: {"ImageComments": f"b={b}(0,0,0)"},
    ],
)
@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
def test_b_values_of_all_vendors(tmp_path: Path, tag: Any, syntax: str) -> None:
    volumes = {b: factory.stored(seed=b) for b in (1000, 0, 500)}
    for b, values in volumes.items():
        for k, frame in enumerate(values):
            data = factory.slice_file(frame, (0, 0, 3 * k), SeriesDescription="ep2d_diff", InstanceNumber=k)
            tags = tag(b)
            if "private" in tags:
                group, creator, element, vr, value = tags["private"]
                data.private_block(group, creator, create=True).add_new(element, vr, value)
            else:
                factory.put(data, tags)
            factory.save(data, tmp_path / f"{b}-{k}", syntax)
    found, _ = scan_dicom(tmp_path)
    assert [volume.b_s_mm2 for volume in found] == [0, 500, 1000]
    for volume in found:
        assert str(volume.locator).endswith(f"#series=3,b={volume.b_s_mm2:.0f}")
        flipped = volumes[int(volume.b_s_mm2 or 0)].T[::-1, ::-1]
        np.testing.assert_array_equal(read(volume), flipped)


def test_the_b_value_of_an_old_siemens_header(tmp_path: Path) -> None:
    # CSA2: magic, one tag of one item; the layout as nibabel.nicom reads it.
    value = b"1000\0\0\0\0"
    tag = struct.pack("<64si4siii", b"B_value", 1, b"IS", 6, 1, 77) + struct.pack("<4i", 0, len(value), 77, 0) + value
    csa = b"SV10\4\3\2\1" + struct.pack("<II", 1, 77) + tag
    for k, frame in enumerate(factory.stored()):
        data = factory.slice_file(frame, (0, 0, 3 * k), ScanningSequence="EP")
        data.private_block(0x29, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", csa)
        factory.save(data, tmp_path / str(k))
    assert [volume.b_s_mm2 for volume in scan_dicom(tmp_path)[0]] == [1000]


def test_b_0_without_diffusion_means_nothing(tmp_path: Path) -> None:
    factory.series(tmp_path, DiffusionBValue=0.0)
    assert scan_dicom(tmp_path)[0][0].b_s_mm2 is None


def test_directions_give_their_geometric_mean(tmp_path: Path) -> None:
    directions = {"a": [1.0, 0, 0], "b": [0, 1.0, 0], "c": [0, 0, 1.0]}
    signal = {name: factory.stored(seed=i, low=1) for i, name in enumerate(directions)}
    for name, direction in directions.items():
        names = [f"{name}{k}" for k in range(4)]
        tags = {"DiffusionBValue": 1000.0, "DiffusionGradientOrientation": direction}
        factory.series(tmp_path, signal[name], names=names, **tags)
    (volume,), _ = scan_dicom(tmp_path)
    assert len(volume.stacks) == 3
    assert len(volume.files) == 12
    mean = np.exp(np.mean([np.log(values.astype(float)) for values in signal.values()], axis=0))
    np.testing.assert_allclose(read(volume), mean.T[::-1, ::-1], rtol=1e-6)
    trace = factory.stored(seed=9)
    tags = {"DiffusionBValue": 1000.0, "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"]}
    factory.series(tmp_path, trace, names=["t0", "t1", "t2", "t3"], **tags)
    found = read_dicom(tmp_path, {"series": "3", "b": "1000"}, "dwi_b1000")
    np.testing.assert_array_equal(found.data, trace.T[::-1, ::-1])
    assert [(v.volume, v.trace) for v in scan_dicom(tmp_path)[0]] == [(0, True), (1, False)]


def test_directions_without_a_tag_are_kept_by_order(tmp_path: Path) -> None:
    for i in range(3):
        each = lambda k, i=i: {"InstanceNumber": 4 * i + k}  # noqa: E731
        factory.series(
            tmp_path, factory.stored(seed=i), names=[f"{i}{k}" for k in range(4)], DiffusionBValue=900.0, each=each
        )
    (volume,), _ = scan_dicom(tmp_path)
    assert len(volume.stacks) == 3


def test_an_adc_map_beside_its_b_values(tmp_path: Path) -> None:
    for b in (0, 1000):
        factory.series(tmp_path, factory.stored(seed=b), names=[f"{b}-{k}" for k in range(4)], DiffusionBValue=float(b))
    maps = ["DERIVED", "PRIMARY", "ADC"]
    factory.series(tmp_path, factory.stored(seed=5), names=list("wxyz"), ImageType=maps, DiffusionBValue=1000.0)
    assert [volume.b_s_mm2 for volume in scan_dicom(tmp_path)[0]] == [None, 0, 1000]
    for volume, seed in zip(scan_dicom(tmp_path)[0], (5, 0, 1000), strict=True):
        np.testing.assert_array_equal(read(volume), factory.stored(seed=seed).T[::-1, ::-1])


def test_echoes_and_time_points(tmp_path: Path) -> None:
    for echo, te in ((0, "80"), (1, "20")):
        factory.series(
            tmp_path / "echo", factory.stored(seed=echo), names=[f"{echo}{k}" for k in range(4)], EchoTime=te
        )
    assert locators(tmp_path / "echo") == ["echo#series=3,echo=1", "echo#series=3,echo=2"]
    first, second = scan_dicom(tmp_path / "echo")[0]
    assert (first.tags["EchoTime"], second.tags["EchoTime"]) == (20, 80)
    np.testing.assert_array_equal(read(second), factory.stored(seed=0).T[::-1, ::-1])
    for time in (10, 9, 0):
        names = [f"{time}-{k}" for k in range(4)]
        factory.series(tmp_path / "time", factory.stored(seed=time), names=names, AcquisitionNumber=time + 1)
    assert locators(tmp_path / "time") == [f"time#series=3,volume={k}" for k in range(3)]
    for volume, seed in zip(scan_dicom(tmp_path / "time")[0], (0, 9, 10), strict=True):
        np.testing.assert_array_equal(read(volume), factory.stored(seed=seed).T[::-1, ::-1])


def test_one_volume_in_several_acquisitions(tmp_path: Path) -> None:
    factory.series(tmp_path, each=lambda k: {"AcquisitionNumber": k % 2, "ContentTime": f"10000{k}"})
    assert len(scan_dicom(tmp_path)[0]) == 1


def test_b_values_of_an_enhanced_file(tmp_path: Path) -> None:
    values = factory.stored((6, 5, 8))
    factory.enhanced(tmp_path / "x", values, each=lambda k: {"b": [1000, 0][k % 2], "place": k // 2})
    low, high = scan_dicom(tmp_path)[0]
    assert (low.b_s_mm2, low.frames, high.frames) == (0, (1, 3, 5, 7), (0, 2, 4, 6))
    np.testing.assert_array_equal(read(high), values[::2].T[::-1, ::-1])


def test_localizers_and_what_is_no_image(tmp_path: Path) -> None:
    factory.series(tmp_path / "a", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert reasons(tmp_path / "a") == ["a localizer"] * 4
    for name, axes in (("x", factory.AXIAL), ("y", factory.SAGITTAL), ("z", factory.CORONAL)):
        factory.series(tmp_path / "b", factory.stored((6, 5, 1)), axes, names=[name])
    assert all("3 directions: a localizer" in reason for reason in reasons(tmp_path / "b"))
    frame, nowhere = factory.stored()[0], "no place in space: position (ImagePositionPatient)"
    for name, tags, reason in (
        ("capture", {"SOPClassUID": SecondaryCaptureImageStorage}, "a secondary capture, no acquired image"),
        ("report", {"SOPClassUID": BasicTextSRStorage, "PixelData": None}, "no pixel data (Basic Text SR Storage)"),
        ("index", {"SOPClassUID": MediaStorageDirectoryStorage}, "a DICOMDIR: the files it lists are read themselves"),
        ("sound", {"Modality": "US"}, "modality US: neither MR nor CT"),
        ("colour", {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "no grey-scale image (RGB)"),
        ("mosaic", {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "a Siemens mosaic"),
        ("place", {"ImagePositionPatient": None}, nowhere),
        (
            "words",
            {"ImagePositionPatient": DataElement(0x00200032, "LO", ["a", "b", "c"])},
            "no place in space: position (ImagePositionPatient)",
        ),
        ("far", {"ImagePositionPatient": ["1e300", "0", "0"]}, nowhere),
        ("mirrored", {"PixelSpacing": [-0.9, 0.8]}, "impossible pixel size (PixelSpacing -0.9 0.8)"),
        ("flat", {"PixelSpacing": [0.9, 0]}, "impossible pixel size"),
        ("nan", {"PixelSpacing": DataElement(0x00280030, "LO", ["nan", "1"])}, "no place in space: pixel size"),
        ("rows", {"Rows": None}, "its rows and columns are missing"),
        (
            "huge",
            {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 99999},
            "too large (65535 × 65535 × 99999 voxels): at most 512 Mi voxels",
        ),
        ("long", {"Rows": 4000, "Columns": 4000}, "cut off (72 bytes of pixels, 32000000 declared)"),
        ("frames", {"NumberOfFrames": 3, "Rows": 1, "Columns": 2}, "several frames without a position for each"),
        ("bits", {"BitsAllocated": 12}, "12 bits a pixel, 8, 16 or 32 can be read"),
    ):
        factory.save(factory.slice_file(frame, (0, 0, 0), **tags), tmp_path / name / "file")
        (found,) = reasons(tmp_path / name)
        assert found.startswith(reason), name


def test_files_that_are_not_dicom(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").touch()
    assert reasons(tmp_path) == []
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "text.IMA").write_text("no image")
    assert sorted(reasons(tmp_path)) == ["an empty file", "holds no DICOM, though its name says so"]
    with pytest.raises(InputError):
        scan_dicom(tmp_path / "nothing")


def test_a_file_without_preamble(tmp_path: Path) -> None:
    data = factory.slice_file(factory.stored()[0], (0, 0, 0))
    content = factory.save(data, tmp_path / "x", "implicit").read_bytes()
    (tmp_path / "x").write_bytes(content[content.index(b"\x08\x00\x08\x00") :])
    (volume,), _ = scan_dicom(tmp_path)
    np.testing.assert_array_equal(read(volume)[..., 0], factory.stored()[0].T[::-1, ::-1])


def test_links_are_read_through(tmp_path: Path) -> None:
    factory.series(tmp_path / "store")
    (tmp_path / "study").mkdir()
    for path in (tmp_path / "store").iterdir():
        (tmp_path / "study" / path.name).symlink_to(path)
    (tmp_path / "study" / "loop").symlink_to(tmp_path / "study")
    assert len(scan_dicom(tmp_path / "study")[0]) == 1


def test_series_whose_uid_was_taken_away(tmp_path: Path) -> None:
    for i in (1, 2):
        factory.series(tmp_path / str(i), factory.stored(seed=i), SeriesInstanceUID=None, SeriesNumber=i)
    assert len(scan_dicom(tmp_path)[0]) == 2


def test_an_echo_time_that_varies_a_little_is_one_echo(tmp_path: Path) -> None:
    factory.series(tmp_path / "one", each=lambda k: {"EchoTime": f"{10 + 0.005 * k / 3:.4f}"})
    assert locators(tmp_path / "one") == ["one#series=3"]
    for echo, te in enumerate((4.92, 7.38)):
        names = [f"{echo}{k}" for k in range(4)]
        each = lambda k, te=te: {"EchoTime": f"{te + 0.01 * (k % 2)}"}  # noqa: E731
        factory.series(tmp_path / "two", factory.stored(seed=echo), names=names, each=each)
    assert locators(tmp_path / "two") == ["two#series=3,echo=1", "two#series=3,echo=2"]


@pytest.mark.parametrize("uid", ["1.2/3", "1#b=2", "1,2", "a=b"])
def test_a_uid_that_no_path_can_carry(tmp_path: Path, uid: str) -> None:
    factory.series(tmp_path / "numbered", SeriesInstanceUID=uid)
    assert locators(tmp_path / "numbered") == ["numbered#series=3"]
    factory.series(tmp_path / "bare", SeriesInstanceUID=uid, SeriesNumber=None)
    found = reasons(tmp_path / "bare")
    assert len(found) == 4
    assert all("no number of its own, and a UID that is none" in reason for reason in found)


def test_what_is_named_as_nifti_is_not_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factory.series(tmp_path)
    (tmp_path / "t1.nii").write_bytes(b"")
    looked: list[str] = []
    look = dicom_scan._look_into
    monkeypatch.setattr(dicom_scan, "_look_into", lambda path, size: (looked.append(path.name), look(path, size))[1])
    scan_dicom(tmp_path)
    assert len(looked) == 4
    assert "t1.nii" not in looked


def test_a_part_of_a_stack_is_no_volume_of_its_own(tmp_path: Path) -> None:
    """ImageType, description or the spelling of the patient's ID change midway: one volume all the same."""
    plain = ["ORIGINAL", "PRIMARY", "M", "ND"]
    changes: list[Callable[[int], Mapping[str, Any]]] = [
        lambda k: {"ImageType": plain if k < 3 else [*plain, "FM"]},
        lambda k: {"SeriesDescription": "T1" if k < 2 else "T1 repeat"},
        lambda k: {"PatientID": "P1" if k < 2 else "p01"},
    ]
    for i, each in enumerate(changes):
        factory.series(tmp_path / str(i), each=each)
        (volume,), ignored = scan_dicom(tmp_path / str(i))
        assert (volume.shape, ignored) == ((6, 5, 4), [])
    factory.series(tmp_path / "two", each=lambda k: {"PatientID": "P1" if k < 2 else "P2"})
    volumes, ignored = scan_dicom(tmp_path / "two")
    assert volumes == []
    assert {item.reason for item in ignored} == {"its series names 2 patients: whose is it? Export it again"}


def test_phases_between_each_others_slices_are_volumes_of_their_own(tmp_path: Path) -> None:
    def phase(k: int) -> Mapping[str, Any]:
        return {"AcquisitionNumber": 1 + k % 2, "Modality": "CT"}

    factory.series(tmp_path / "ct", factory.stored((6, 5, 8)), each=phase, step=(0, 0, 1.25))
    assert [volume.shape[2] for volume in scan_dicom(tmp_path / "ct")[0]] == [4, 4]
    between = {"SpacingBetweenSlices": 2.5, "SliceThickness": 2.5}
    factory.series(tmp_path / "mr", factory.stored((6, 5, 8)), step=(0, 0, 1.25), **between)
    with pytest.raises(InputError, match="2 volumes stand between each other's slices"):
        read_dicom(tmp_path / "mr", {}, "t1")


def test_two_slice_distances_are_no_missing_slices(tmp_path: Path) -> None:
    def place(k: int) -> Mapping[str, Any]:
        z = 5.0 * k if k < 4 else 15.0 + 2.5 * (k - 3)
        return {"ImagePositionPatient": [0.0, 0.0, z]}

    factory.series(tmp_path, factory.stored((6, 5, 9)), each=place)
    with pytest.raises(InputError, match="the slices have 2 distances"):
        read_dicom(tmp_path, {}, "t1")


def test_values_of_philips_are_comparable_between_series(tmp_path: Path) -> None:
    def scaled(scale: float) -> Mapping[str, Any]:
        creator = DataElement(0x20050010, "LO", "Philips MR Imaging DD 001")
        return {"creator": creator, "scale": DataElement(0x2005100E, "FL", scale), "RescaleSlope": 3.0 * scale}

    for name, scale in (("a", 0.5), ("b", 0.25)):
        factory.series(tmp_path / name, (factory.stored() * scale).astype(np.uint16), **scaled(scale))
    one, other = (read_dicom(tmp_path / name, {}, "t1").data for name in ("a", "b"))
    np.testing.assert_allclose(one, other, atol=4.1)


def test_dicom_is_found_under_any_name_and_packed_files_are_told(tmp_path: Path) -> None:
    factory.series(tmp_path / "a", names=[f"{k}.img" for k in range(4)])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x.dcm.gz").write_bytes(b"x")
    (tmp_path / "c" / "T1.mgz").write_bytes(b"x")
    intake = find_images(tmp_path)
    assert [image.contrast for image in intake.found] == ["t1"]
    told = " ".join(item.reason for item in intake.ignored)
    assert "unpack them first" in told
    assert "mri_convert" in told


def test_several_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factory.series(tmp_path / "a")
    (tmp_path / "b.dcm").write_bytes(b"no DICOM")
    alone = scan_dicom(tmp_path)
    dicom_scan._scan.cache_clear()
    monkeypatch.setattr(dicom_scan, "MANY_FILES", 2)
    volumes, ignored = scan_dicom(tmp_path, workers=2)
    assert [(volume.locator, volume.shape) for volume in volumes] == [(v.locator, v.shape) for v in alone[0]]
    assert ignored == alone[1]
