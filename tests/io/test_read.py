"""4-D NIfTI files, one volume at a time; sizes that a header only claims."""

from __future__ import annotations

import gzip
import os
import struct
import time
from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.core.errors import InputError
from mrsynth.io import read_image, read_mask, read_prediction
from mrsynth.io.diffusion import read_shells, shell_of
from mrsynth.io.read import file_digest
from nifti_factory import LPS, RAS, ramp, save

B_VALUES = (1000, 0, 995, 500, 5, 1005)


def series(folder: Path, suffix: str = ".nii.gz") -> tuple[Path, np.ndarray]:
    data = np.stack([ramp(seed=i) for i in range(len(B_VALUES))], axis=-1)
    path = save(folder / f"dwi{suffix}", data, LPS)
    (folder / "dwi.bval").write_text(" ".join(map(str, B_VALUES)) + "\n")
    return path, data


def test_a_prediction_may_be_constant_a_scan_may_not(tmp_path: Path) -> None:
    flat = save(tmp_path / "flat.nii.gz", np.full((5, 6, 7), 3, np.float32), LPS)
    assert (read_prediction(flat, "t1").data == 3).all()
    with pytest.raises(InputError, match="constant"):
        read_image(flat, "t1")
    holed = save(tmp_path / "holed.nii.gz", np.full((5, 6, 7), np.nan, np.float32), LPS)
    with pytest.raises(InputError, match="not numbers"):
        read_prediction(holed, "t1")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_one_volume_of_a_series(tmp_path: Path, suffix: str) -> None:
    path, data = series(tmp_path, suffix)
    for volume in range(len(B_VALUES)):
        image = read_image(Path(f"{path}#volume={volume}"), "dwi")
        np.testing.assert_array_equal(image.data[::-1, ::-1], data[..., volume])
        assert image.native is not None
        assert image.native.shape == (5, 6, 7)


def test_volumes_of_one_b_value_give_their_geometric_mean(tmp_path: Path) -> None:
    path, data = series(tmp_path)
    assert read_shells(path) == {0: [1, 4], 500: [3], 1000: [0, 2, 5]}
    image = read_image(Path(f"{path}#b=1000"), "dwi_b1000")
    expected = np.exp(np.log(data[..., [0, 2, 5]].astype(float)).mean(axis=-1))
    np.testing.assert_allclose(image.data[::-1, ::-1], expected, rtol=1e-6)


@given(st.floats(0, 5000))
def test_nominal_b_values_are_near_and_stay_what_they_are(b: float) -> None:
    assert abs(shell_of(b) - b) <= 25
    assert shell_of(shell_of(b)) == shell_of(b)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("", "name the volume after the path: dwi.nii.gz#volume=0"),
        ("#volume=6", "0 to 5"),
        ("#b=700", "no volume at b = 700"),
        ("#b=high", "is no number"),
        ("#b=٣", "is no number"),
        ("#volume=²", "is no number"),
        ("#volume=" + "9" * 5000, "is no number"),
        ("#series=3", "cannot be selected from"),
        ("#b=0,volume=1", "cannot be selected from"),
    ],
)
def test_what_cannot_be_selected(tmp_path: Path, selection: str, message: str) -> None:
    path, _ = series(tmp_path)
    with pytest.raises(InputError, match=message):
        read_image(Path(f"{path}{selection}"), "dwi")


@pytest.mark.parametrize("text", ["0 1000", "a b", "", "0 0 0 0 0 nan", "0 0 0 0 0 -5", "ä"])
def test_b_values_that_do_not_fit(tmp_path: Path, text: str) -> None:
    path, _ = series(tmp_path)
    (tmp_path / "dwi.bval").write_text(text)
    with pytest.raises(InputError, match=r"dwi\.bval"):
        read_image(Path(f"{path}#b=0"), "dwi_b0")
    (tmp_path / "dwi.bval").unlink()
    with pytest.raises(InputError, match="b-values are unknown"):
        read_image(Path(f"{path}#b=0"), "dwi_b0")


def test_the_digest_changes_with_what_is_read(tmp_path: Path) -> None:
    path, _ = series(tmp_path)
    one, other = Path(f"{path}#b=0"), Path(f"{path}#b=500")
    assert len({file_digest(path), file_digest(one), file_digest(other)}) == 3
    before = file_digest(one)
    (tmp_path / "dwi.bval").write_text("0 0 0 0 0 0")
    assert file_digest(one) != before


def header(shape: tuple[int, ...], kind: type = np.float64) -> bytes:
    head = nib.Nifti1Header()
    head.set_data_shape((2, 2, 2))
    head.set_data_dtype(kind)
    head.set_sform(RAS, 1)
    head["dim"][: len(shape) + 1] = [len(shape), *shape]
    head["vox_offset"] = 352
    head["magic"] = b"n+1"
    return head.binaryblock + b"\0" * 4


def test_a_bomb_is_read_no_further_than_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "t1.nii.gz"
    with gzip.open(path, "wb", 9) as file:
        file.write(header((8, 8, 8)))
        file.write(np.arange(512, dtype=float).tobytes())
        for _ in range(300):
            file.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    start = time.perf_counter()
    with pytest.raises(InputError, match="holds more than its header says"):
        read_image(path, "t1")
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(1000, 1000, 1000), (1000, 1000, 500, 100), (32767, 32767, 32767)])
def test_a_size_that_the_file_cannot_hold_is_refused_before_memory_is_asked_for(
    tmp_path: Path, packed: bool, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t1.nii.gz"
    content = header(shape) + bytes(1000)
    path.write_bytes(gzip.compress(content) if packed else content)
    asked: list[int] = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, n=-1: (asked.append(n), read(self, n))[1])
    with pytest.raises(InputError, match=r"cut off|too large|4 dimensions"):
        read_image(path, "t1")
    assert max(asked, default=0) < 10_000


@given(st.data())
def test_any_damage_gets_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    path, _ = series(folder, data.draw(st.sampled_from([".nii", ".nii.gz"])))
    content = bytearray(path.read_bytes())
    damage = data.draw(st.sampled_from(["cut", "flip", "number"]))
    if damage == "cut":
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(1, 4)) if damage == "flip" and content else 0):
        content[data.draw(st.integers(0, min(len(content), 400) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    if damage == "number":
        at = data.draw(st.integers(0, 344))
        content[at : at + 4] = struct.pack("<i", data.draw(st.integers(-(2**31), 2**31 - 1)))
    path.write_bytes(content)
    for selection in ("", "#volume=1", "#b=1000"):
        with suppress(InputError):
            read_image(Path(f"{path}{selection}"), "dwi")


def test_a_digest_of_a_b_value_needs_the_b_values(tmp_path: Path) -> None:
    path, _ = series(tmp_path)
    (tmp_path / "dwi.bval").unlink()
    with pytest.raises(InputError, match="b-values are unknown") as caught:
        file_digest(Path(f"{path}#b=0"))
    assert caught.value.found == "no dwi.bval beside it"


@pytest.mark.parametrize("suffix", ["", ".nii", ".dcm"])
def test_pipes_and_names_that_no_file_has(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    long = tmp_path / ("x" * 300 + suffix)
    for read in (lambda path: read_image(path, "t1"), read_mask, file_digest):
        with pytest.raises((InputError, OSError), match="pipe or device"):
            read(tmp_path / f"pipe{suffix}")
        with pytest.raises((InputError, OSError), match=r"(?i)name too long|is not a NIfTI"):
            read(long)
    with pytest.raises(InputError):
        read_image(tmp_path / f"pipe{suffix}#series=3", "t1")
    with pytest.raises(InputError):
        read_image(tmp_path / f"a\0b{suffix}", "t1")
