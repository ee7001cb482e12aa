"""Damaged files of every kind that is read: a result or a sentence, never a traceback, a hang, or memory without bound.

MRSYNTH_MUTANTS sets how many mutants each reader gets (2 000 by default, 20 000 each night); the seed is the reader's
name, so that a failure comes back.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import openpyxl
import pytest

import dicom_factory as factory
from mrsynth.core.errors import MrsynthError
from mrsynth.core.seeds import generator
from mrsynth.index.bids import participants
from mrsynth.index.corrections import correct, first_correction
from mrsynth.io import read_cohort, read_image, read_mask
from mrsynth.io.case import read_case_file
from mrsynth.io.dicom.scan import scan_dicom
from mrsynth.io.diffusion import read_shells
from mrsynth.io.labels import read_lesion
from mrsynth.io.locator import split_locator
from mrsynth.io.sidecar import sidecar
from mrsynth.io.synthetic import why_synthetic

MUTANTS = int(os.environ.get("MRSYNTH_MUTANTS", "2000"))
MOST_SECONDS, MOST_BYTES = 10.0, 1 << 30

TEXTS = [
    b"-1",
    b"0",
    b"1e999",
    b"nan",
    b"99999999999",
    b"\xff\xfe",
    b"\0",
    b"[" * 3000,
    b'"',
    b"\r",
    b";",
    b"../",
    b"\\",
]
"""What stands in places of text where it hurts."""

NUMBERS = [0, 1, 0x7F, 0x80, 0xFF]


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file's bytes with one to four accidents: bytes changed, cut, doubled, moved, or replaced by odd text."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 9))
        match int(rng.integers(7)):
            case 0:
                data[at] = int(rng.integers(256))
            case 1:
                data[at : at + length] = bytes([NUMBERS[int(rng.integers(len(NUMBERS)))]] * len(data[at : at + length]))
            case 2:
                del data[at:]
            case 3:
                del data[at : at + length]
            case 4:
                data[at:at] = data[at : at + 8 * length]
            case 5:
                data[at:at] = TEXTS[int(rng.integers(len(TEXTS)))]
            case 6:
                data[at] ^= 1 << int(rng.integers(8))
    return bytes(data)


def damage(name: str, path: Path, content: bytes, read: Callable[[Path], object], mutants: int = MUTANTS) -> None:
    """Write mutants of a file and read each; the first that raises anything but a sentence ends the test."""
    rng = generator(0, "fuzz", name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(mutants):
        path.write_bytes(mutated(content, rng))
        start = time.monotonic()
        try:
            read(path)
        except MrsynthError:
            pass
        except Exception as error:
            raise AssertionError(f"mutant {number} of {name}: {type(error).__name__}: {error}") from error
        assert time.monotonic() - start < MOST_SECONDS, f"mutant {number} of {name} took too long"
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < MOST_BYTES


def nifti(kind: type = nib.Nifti1Image, dtype: type = np.int16) -> bytes:
    values = np.arange(60).reshape(3, 4, 5).astype(dtype)
    return bytes(kind(values, np.diag([2.0, 2.0, 2.0, 1.0])).to_bytes())


@pytest.mark.parametrize("kind", ["nifti1", "nifti2", "float"])
def test_nifti(tmp_path: Path, kind: str) -> None:
    content = nifti(
        nib.Nifti2Image if kind == "nifti2" else nib.Nifti1Image, np.float32 if kind == "float" else np.int16
    )

    def read(path: Path) -> None:
        why_synthetic(path)
        read_image(path, "t1")

    mutants = MUTANTS if kind == "nifti1" else MUTANTS // 2
    damage(f"nifti {kind}", tmp_path / "t1.nii", content, read, mutants)
    # The header alone, where most of the meaning is.
    rest = content[352:]
    damage(f"header {kind}", tmp_path / "t1.nii", content[:352], lambda path: read(_longer(path, rest)), mutants)


def _longer(path: Path, rest: bytes) -> Path:
    path.write_bytes(path.read_bytes() + rest)
    return path


def test_gzip_and_masks(tmp_path: Path) -> None:
    packed = gzip.compress(nifti(dtype=np.uint8), mtime=0)
    damage("gzip", tmp_path / "t1.nii.gz", packed, lambda path: read_image(path, "t1"))
    damage(
        "mask",
        tmp_path / "m.nii",
        nifti(dtype=np.uint8),
        lambda path: (read_mask(path), read_lesion(path)),
        MUTANTS // 2,
    )


def _read_dicom(path: Path) -> None:
    for volume in scan_dicom(path)[0]:
        file, _ = split_locator(volume.locator)
        read_image(Path(str(volume.locator)), "t1")
        why_synthetic(file)


@pytest.mark.parametrize("syntax", sorted(factory.SYNTAXES))
def test_classic_dicom(tmp_path: Path, syntax: str) -> None:
    (path,) = factory.series(tmp_path / "good", factory.stored((6, 5, 1)), syntax=syntax)
    share = 2 if syntax in ("explicit", "implicit") else 4
    damage(f"dicom {syntax}", tmp_path / "x.dcm", path.read_bytes(), _read_dicom, MUTANTS // share)


def test_enhanced_dicom(tmp_path: Path) -> None:
    path = factory.enhanced(tmp_path / "good.dcm", factory.stored((6, 5, 2)))
    damage("enhanced", tmp_path / "x.dcm", path.read_bytes(), _read_dicom)


def test_tables(tmp_path: Path) -> None:
    (tmp_path / "t1.nii").write_bytes(nifti())
    cohort = b"patient,case,split,dose,t1,labels\nP1,P1,train,0.5,t1.nii,ms\nP2,P2,test,,t1.nii,\n"
    damage("cohort", tmp_path / "c.csv", cohort, lambda path: read_cohort(path, allow_unsound=True))
    header = b"path,patient,case,contrast,reason,found_patient,found_case,found_contrast\n"
    line = b"t1.nii,P1,P1,t1,its name says t1,P1,P1,t1\n"
    damage("found", tmp_path / "f.csv", header + line, lambda path: (first_correction(path), correct([], path)))
    people = b"participant_id\tage\tsex\nsub-1\t30\tF\n"
    damage("participants", tmp_path / "participants.tsv", people, lambda path: participants(path.parent))


def test_workbooks(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["case", "t1"])
    book.active.append(["P1", "t1.nii"])
    packed = io.BytesIO()
    book.save(packed)
    damage("xlsx", tmp_path / "c.xlsx", packed.getvalue(), lambda path: read_cohort(path, allow_unsound=True))


def test_sidecars(tmp_path: Path) -> None:
    image = tmp_path / "sub-1_dwi.nii"
    image.write_bytes(bytes(nib.Nifti1Image(np.zeros((3, 4, 5, 3), np.int16), np.eye(4)).to_bytes()))
    said = json.dumps({"EchoTime": 0.1, "ImageType": ["ORIGINAL"], "MagneticFieldStrength": 3}).encode()
    damage("json", tmp_path / "sub-1_dwi.json", said, lambda path: sidecar(image))
    damage("bval", tmp_path / "sub-1_dwi.bval", b"0 1000 1000\n", lambda path: read_shells(image))
    damage("case", tmp_path / "case.json", b'{"patient": "P1", "dose": 0.5}', lambda path: read_case_file(path.parent))


def test_files_that_claim_too_much(tmp_path: Path) -> None:
    """Less than 1 MB each, a gigabyte or more to hold: refused by what their size allows, before memory is taken."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    header = nib.Nifti1Header()
    header.set_data_shape((512, 512, 512))
    header.set_data_dtype(np.uint8)
    header["magic"], header["vox_offset"] = b"n+1", 352
    with gzip.open(tmp_path / "t1.nii.gz", "wb") as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(128):
            file.write(bytes(1 << 20))
    with pytest.raises(MrsynthError, match="holds less than an image has"):
        read_image(tmp_path / "t1.nii.gz", "t1")
    assert not read_mask(tmp_path / "t1.nii.gz").data.any()  # a mask may be as empty as that

    for syntax in ("jpeg_2000", "jpeg_ls", "deflated"):
        values = np.zeros((1, 4096, 4096), np.uint16)
        (path,) = factory.series(tmp_path / syntax, values, syntax=syntax)
        assert path.stat().st_size < 1 << 20
        (item,) = scan_dicom(tmp_path / syntax)[1]
        assert "too few" in item.reason or "unpacks to more" in item.reason
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < MOST_BYTES
