from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from mrsynth.core.errors import InputError, RecipeError
from mrsynth.core.image import Case
from mrsynth.core.seeds import generator
from mrsynth.io import read_image
from mrsynth.phantom import simulate_subject
from mrsynth.phantom.draw import SubjectSettings
from mrsynth.steps import brain_deepbet, invert_steps, parse_steps, run_steps
from mrsynth.steps.brain import choose_source
from mrsynth.steps.brain_external import PROGRAMS
from small_cases import ball, brain_case


@pytest.fixture(scope="module")
def head() -> Case:
    """All contrasts of a head with skull, 4 mm; the true brain mask under "brain"."""
    return simulate_subject(3, SubjectSettings(profile="full", spacing_mm=4.0, stripped=False))


def only(case: Case, *names: str) -> Case:
    """The case with these images and no mask."""
    return replace(case, images={name: case.images[name] for name in names}, masks={})


def masked(case: Case, **settings: Any) -> tuple[Case, dict[str, Any]]:
    done, records = run_steps(case, [{"brain_mask": settings}])
    assert json.loads(json.dumps(records)) == list(records)
    return done, dict(records[0])


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def brain(case: Case) -> np.ndarray:
    return case.masks["brain"].data > 0


def changed(case: Case, change: Callable[[np.ndarray], np.ndarray]) -> Case:
    images = {name: image.with_data(change(image.data).astype(np.float32)) for name, image in case.images.items()}
    return replace(case, images=images)


# --- stripped images


def test_stripped_images_give_their_own_mask():
    case = brain_case()
    done, record = masked(case)
    assert np.array_equal(brain(done), case.images["t1"].data > 0)
    assert (record["source"], record["why"]) == ("nonzero", "the images are skull-stripped")
    assert record["volume_ml"] == pytest.approx(record["voxels"])  # voxels of 10 mm hold 1 mL


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("float dust", lambda data: data + generator(0, "dust").uniform(-1e-2, 1e-2, data.shape)),
        ("overshoot", lambda data: ndimage.shift(data, (0.5, 0, 0), order=3)),
        ("z-score in the brain", lambda data: np.where(data > 0, (data - data[data > 0].mean()) / 200.0, 0)),
        ("z-score of the volume", lambda data: (data - data.mean()) / data.std()),
        ("narrow margin", lambda data: data[2:-2, 4:-4, 2:-2]),
    ],
)
def test_a_background_that_is_not_quite_0_is_still_one(name: str, change: Callable[[np.ndarray], np.ndarray]):
    image = brain_case(contrasts=("t1",), spacing_mm=(9.0, 9.0, 9.0)).images["t1"]
    data = change(image.data).astype(np.float32)
    truth = image.data > 0 if name != "narrow margin" else data > 0
    assert (data.min() < -10) == (name == "overshoot")
    done, record = masked(Case({"t1": replace(image, data=data)}))
    assert record["source"] == "nonzero"
    assert dice(brain(done), truth) > (0.9 if name == "overshoot" else 0.99)  # half a voxel of a ball of eight
    if "z-score" in name:
        np.testing.assert_array_equal(done.images["t1"].data[truth], data[truth])
        assert record["negative"] == {"t1": 0}
        assert done.images["t1"].data[0, 0, 0] == data[0, 0, 0]
    else:
        assert done.images["t1"].data.min() == 0


def test_a_stripped_ct_keeps_air_outside():
    image = brain_case(contrasts=("t1",)).images["t1"]
    hu = np.where(image.data > 0, image.data / 20 - 20, -1024).astype(np.float32)
    done, record = masked(Case({"ct": replace(image, data=hu, contrast="ct")}))
    assert record["source"] == "nonzero"
    assert np.array_equal(brain(done), image.data > 0)
    assert np.array_equal(done.images["ct"].data, hu)


# --- heads


def test_deepbet_finds_the_brain_of_a_head_and_the_same_bytes_each_time(head: Case):
    done, record = masked(only(head, "ct", "adc", "t1"))
    assert (record["source"], record["of"]) == ("deepbet", "t1")
    assert "no flat background" in record["why"]
    assert dice(brain(done), brain(head)) > 0.93
    assert done.images["t1"].data[~brain(done)].max() == 0
    assert done.images["ct"].data[~brain(done)].max() == -1024
    again, _ = masked(only(head, "t1"), source="deepbet")
    assert again.images["t1"].data.tobytes() == done.images["t1"].data.tobytes()


def test_a_head_whose_air_was_set_to_0_is_not_taken_for_stripped(head: Case, monkeypatch: pytest.MonkeyPatch):
    air = ndimage.binary_fill_holes(head.images["ct"].data > -500)
    case = changed(only(head, "t1"), lambda data: np.where(air, np.maximum(data, 1), 0))
    monkeypatch.setattr(brain_deepbet, "_network", lambda: Network(brain(head)))
    done, record = masked(case)
    assert record["source"] == "deepbet"
    assert np.array_equal(brain(done), brain(head))


class Network:
    """Stands for deepbet's: gives a probability, or says what deepbet says where there is no brain."""

    def __init__(self, mask: np.ndarray | None) -> None:
        self.mask = mask

    def run_model(self, data: np.ndarray) -> np.ndarray:
        if self.mask is None:
            raise AssertionError("Not enough foreground to calculate bounding box")
        hole = np.zeros_like(self.mask)
        hole[tuple(n // 2 for n in hole.shape)] = True
        return 0.9 * (self.mask & ~hole)


def test_a_head_without_a_brain_is_refused(head: Case, monkeypatch: pytest.MonkeyPatch):
    for mask in (None, np.zeros(brain(head).shape, bool), np.ones(brain(head).shape, bool)):
        monkeypatch.setattr(brain_deepbet, "_network", lambda mask=mask: Network(mask))
        with pytest.raises(InputError, match="deepbet finds no brain in t1"):
            masked(only(head, "t1"))


def test_a_head_of_one_slice_and_one_with_hardly_a_brain_are_refused(head: Case, monkeypatch: pytest.MonkeyPatch):
    """deepbet's second network gets an empty box there, of which torch says that sizes should be greater than 0."""
    image = head.images["t1"]
    for axis in range(3):
        slab = np.take(image.data, [20], axis=axis)
        with pytest.raises(InputError, match="too few slices"):
            masked(Case({"t1": replace(image, data=slab)}), source="deepbet")

    class Broken:
        said = "Input and output sizes should be greater than 0, but got input (D: 37, H: 40, W: 0)"

        def run_model(self, data: np.ndarray) -> np.ndarray:
            raise RuntimeError(self.said)

    monkeypatch.setattr(brain_deepbet, "_network", Broken)
    with pytest.raises(InputError, match="deepbet finds no brain in t1"):
        masked(only(head, "t1"), source="deepbet")
    monkeypatch.setattr(Broken, "said", "out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        masked(only(head, "t1"), source="deepbet")


def test_a_head_too_coarse_and_one_without_a_fit_contrast_are_refused(head: Case):
    image = head.images["t1"]
    coarse = replace(image, data=image.data[::2, ::2, ::2], affine=image.affine @ np.diag([2, 2, 2, 1]))
    with pytest.raises(InputError, match="too coarse"):
        masked(Case({"t1": coarse}))
    with pytest.raises(InputError, match="none shows the head") as error:
        masked(only(head, "adc"), source="deepbet")
    assert "given" not in str(error.value)
    with pytest.raises(InputError, match="no t2 image"):
        masked(only(head, "t1"), source="deepbet", of="t2")
    with pytest.raises(RecipeError, match="not a contrast"):
        masked(only(head, "t1"), of="t3")


# --- CT


def test_watershed_finds_the_inside_of_the_skull_and_keeps_hu(head: Case):
    done, record = masked(only(head, "ct"))
    assert (record["source"], record["of"]) == ("watershed", "ct")
    assert dice(brain(done), brain(head)) > 0.97
    before, after = head.images["ct"].data, done.images["ct"].data
    assert np.array_equal(after[brain(done)], before[brain(done)])
    assert set(np.unique(after[~brain(done)])) == {-1024}


def test_watershed_survives_noise_thick_slices_padding_and_a_burr_hole(head: Case):
    image, truth = head.images["ct"], brain(head)
    noise = generator(0, "ct").standard_normal(image.data.shape) * 25
    side = int(np.flatnonzero(truth.any(axis=(1, 2)))[0])
    y, z = (n // 2 for n in truth.shape[1:])
    open_skull = image.data.copy()
    around = (slice(0, side + 2), slice(y - 1, y + 2), slice(z - 1, z + 2))
    open_skull[around] = np.where(open_skull[around] > 150, 40, open_skull[around])
    padded = np.where(image.data <= -1024, -3024, image.data)
    for data in (image.data + noise, open_skull, padded):
        done, _ = masked(Case({"ct": image.with_data(data.astype(np.float32))}))
        assert dice(brain(done), truth) > 0.95
        assert done.images["ct"].data.min() == -1024
    thick = replace(image, data=image.data[..., ::2], affine=image.affine @ np.diag([1, 1, 2, 1]))
    assert dice(brain(masked(Case({"ct": thick}))[0]), truth[..., ::2]) > 0.95


def test_a_head_is_kept_with_skull_and_scalp_and_without_its_headrest(head: Case):
    ct, settings = head.images["ct"], {"source": "watershed", "keep": "head"}
    done, record = masked(only(head, "ct", "t1"), **settings)
    kept, found = brain(done), done.images["ct"].data
    assert not np.any(brain(head) & ~kept)
    bone = ct.data > 300
    assert (kept & bone).sum() > 0.98 * bone.sum()
    np.testing.assert_array_equal(found[kept], ct.data[kept])
    assert found[~kept].max() == -1024
    assert done.images["t1"].data[kept & bone].size
    assert record["volume_ml"] > 2500
    board = ct.data.copy()
    board[:, 1] = 100  # in the air behind the head, a voxel thick
    board[:, 0] = -1024
    assert dice(brain(masked(Case({"ct": ct.with_data(board)}), **settings)[0]), kept) > 0.97
    given = replace(only(head, "ct"), masks={"brain": done.masks["brain"]})
    np.testing.assert_array_equal(brain(masked(given, source="given", keep="head")[0]), kept)
    with pytest.raises(InputError, match="given brain mask is none"):
        masked(given, source="given")
    with pytest.raises(InputError, match="no head found in the CT"):
        masked(changed(only(head, "ct"), lambda data: np.full_like(data, -1024)), **settings)
    with pytest.raises(RecipeError, match="keep: head is for source: watershed"):
        masked(only(head, "t1"), source="deepbet", keep="head")


@pytest.mark.parametrize("what", ["no skull", "not in HU", "nothing"])
def test_a_ct_without_a_skull_is_refused(head: Case, what: str):
    change = {
        "no skull": lambda data: np.minimum(data, 100),
        "not in HU": lambda data: data / 2000,
        "nothing": lambda data: np.full_like(data, -1024),
    }[what]
    with pytest.raises(InputError, match="no brain found in the CT"):
        masked(changed(only(head, "ct"), change), source="watershed")


# --- choices


def test_a_given_mask_comes_first_and_a_missing_one_is_refused(head: Case):
    mask = replace(head.masks["brain"], data=head.masks["brain"].data * 7)
    done, record = masked(replace(only(head, "t1"), masks={"brain": mask}))
    assert record["source"] == "given"
    assert np.array_equal(done.masks["brain"].data, head.masks["brain"].data)
    with pytest.raises(InputError, match="no brain mask"):
        masked(only(head, "t1"), source="given")
    with pytest.raises(InputError, match="mask is empty"):
        masked(replace(head, masks={"brain": replace(mask, data=np.zeros_like(mask.data))}))


def test_the_mask_alone_can_be_asked_for(head: Case):
    done, record = masked(replace(head, masks={"brain": head.masks["brain"]}), apply=False)
    assert all(done.images[name] is image for name, image in head.images.items())
    assert record["negative"] == {}


def test_nonzero_refuses_a_head(head: Case):
    with pytest.raises(InputError, match="not skull-stripped"):
        masked(only(head, "t1"), source="nonzero")


def test_what_was_outside_does_not_come_back():
    done, records = run_steps(brain_case(), [{"brain_mask": {}}])
    assert invert_steps(done.images["t1"], records) is done.images["t1"]


# --- programs of the user


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str, script: str) -> None:
    program = folder / PROGRAMS[source]
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("source", "script"),
    [("hd-bet", 'cp "$2" "${4%.nii.gz}_bet.nii.gz"'), ("synthstrip", 'cp "$2" "$4"')],
)
def test_an_installed_program_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, script: str):
    """The stand-in calls every voxel above 0 brain: what comes back lies where it was sent from."""
    install(tmp_path, monkeypatch, source, script)
    case = brain_case(shape=(20, 24, 28))
    data = np.where(ball((20, 24, 28), 5) & (np.arange(28) > 12), 5, 0).astype(np.float32)
    image = replace(case.images["t1"], data=data)
    tilted = np.diag([-3.0, 2.0, 4.0, 1.0])
    tilted[1, 2] = 0.8  # a sheared grid is no obstacle
    done, record = masked(Case({"t1": replace(image, affine=tilted)}), source=source)
    assert np.array_equal(brain(done), data > 0)
    assert (record["source"], record["of"]) == (source, "t1")


def test_a_program_gets_the_head_upright_however_its_axes_were_turned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sent = tmp_path / "sent.nii.gz"
    install(tmp_path, monkeypatch, "synthstrip", f'cp "$2" "{sent}"; cp "$2" "$4"')
    case = only(brain_case(shape=(20, 24, 28)), "t1")
    steps = [{"reorient": {"axes": "PIL"}}, {"brain_mask": {"source": "synthstrip"}}]
    done, _ = run_steps(case, steps)
    assert np.array_equal(read_image(sent, "t1").data, case.images["t1"].data)
    assert np.array_equal(brain(done), done.images["t1"].data > 0)


def test_deepbet_finds_the_same_brain_however_the_axes_were_turned(head: Case):
    straight, _ = masked(only(head, "t1"), source="deepbet")
    turned, _ = run_steps(only(head, "t1"), [{"reorient": {"axes": "SPL"}}, {"brain_mask": {"source": "deepbet"}}])
    back, _ = run_steps(turned, [{"reorient": {"axes": "RAS"}}])
    assert np.array_equal(brain(back), brain(straight))


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo no weights >&2; exit 3", "failed .exit status 3"),
        ("exec sleep 20", "took longer"),
        ("exit 0", "gave no brain mask"),
    ],
)
def test_a_program_that_fails_gets_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str):
    install(tmp_path, monkeypatch, "synthstrip", script)
    with pytest.raises(InputError, match=says) as error:
        masked(brain_case(), source="synthstrip", timeout_s=0.5)
    assert "no weights" in str(error.value) or "exit 3" not in script


def test_a_missing_program_gets_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="hd-bet is not on PATH") as error:
        masked(brain_case(), source="hd-bet")
    assert "deepbet" in str(error.value)


# --- real patients


@pytest.mark.real
def test_real_images_are_told_apart(real_data: Path):
    from mrsynth.io import read_image

    settings = parse_steps([{"brain_mask": {}}])[0][1]
    stripped = (
        "brats/BraTS2021_01476/*_t1.nii.gz",
        "openms/patient07/T1.nii.gz",
        "kirby21/*T2w*.nii.gz",
        "isles22/**/*dwi.nii.gz",
        "tcga/**/atlas_bet/*t1.nii.gz",
    )
    for pattern, source in [*((pattern, "nonzero") for pattern in stripped), ("tcga/**/raw/*t1.nii.gz", "deepbet")]:
        case = Case({"t1": read_image(next(real_data.glob(pattern)), "t1")})
        assert choose_source(case, settings)[0] == source
    ct = Case({"ct": read_image(next(real_data.glob("ct/*.nii.gz")), "ct")})
    with pytest.raises(InputError, match="no brain found in the CT"):  # a rendering of vessels and bone, not in HU
        masked(ct)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda mask, t1: mask & (np.cumsum(mask).reshape(mask.shape) * 0.064 < 60.0), "mask is none"),  # 60 mL
        (lambda mask, t1: np.ones_like(mask), "mask is none"),
        (lambda mask, t1: t1 < np.quantile(t1, 0.2), "does not lie on the brain"),
        (lambda mask, t1: mask, None),
    ],
)
def test_a_given_mask_is_judged(
    head: Case, change: Callable[[np.ndarray, np.ndarray], np.ndarray], told: str | None
) -> None:
    mask, t1 = head.masks["brain"], head.images["t1"]
    changed_mask = mask.with_data(change(mask.data > 0, t1.data).astype(np.uint8))
    wrong = Case({"t1": t1}, {"brain": changed_mask}, {"case": "P1"})
    if told is None:
        assert masked(wrong, source="given")[1]["source"] == "given"
        return
    with pytest.raises(InputError, match=told):
        masked(wrong, source="given")
