from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrsynth.core.errors import CohortError
from mrsynth.core.image import Case, Image
from mrsynth.io import CaseRow, PreparedCohort
from mrsynth.recipes.sections import PatchSettings
from mrsynth.train.loader import Loader
from mrsynth.train.patches import PatchSampler, PatchSet

SHAPE = (20, 24, 10)
SIZES = {"cube": (8, 8, 8), "slab": (None, None, 3), "larger": (30, 8, 16)}


def cohort_of(
    folder: Path, shapes: tuple[tuple[int, int, int], ...], brain: np.ndarray | None = None
) -> PreparedCohort:
    """Cases whose every voxel says where it lies: t1 counts from 1, t2 is its negative."""
    cohort = PreparedCohort.create(folder, recipe="r", steps=[], contrasts=["t1", "t2"])
    for number, shape in enumerate(shapes):
        data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 1 + 1000 * number
        mask = np.zeros(shape, np.uint8)
        mask[5:12, 6:16, 2:7] = 1
        mask[6:8, 8:9, 8] = 1
        images = {"t1": Image(data, np.eye(4), "t1"), "t2": Image(-data, np.eye(4), "t2")}
        masks = {"brain": Image(mask if brain is None else brain, np.eye(4), "brain")}
        cohort.write_case(CaseRow(f"p{number}", f"p{number}", "train", {}), Case(images, masks), [], f"f{number}")
    cohort.finish([f"p{number}" for number in range(len(shapes))])
    return PreparedCohort.open(folder)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedCohort:
    return cohort_of(tmp_path_factory.mktemp("patches") / "p", (SHAPE, SHAPE, SHAPE))


def patches(
    cohort: PreparedCohort,
    size: tuple[int | None, int | None, int | None],
    in_memory_gb: float = 0,
    seed: int = 1,
    within: str | None = "brain",
) -> PatchSet:
    settings = PatchSettings(size=size, per_epoch=12, within=within)
    return PatchSet(cohort, "train", (["t1"], "t2"), settings, seed, in_memory_gb)


@pytest.mark.parametrize("in_memory_gb", [0, 1])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_sample_is_the_box_that_was_drawn(
    prepared: PreparedCohort, size: tuple[int | None, int | None, int | None], in_memory_gb: float
) -> None:
    samples = patches(prepared, size, in_memory_gb)
    assert bool(samples.memory) == (in_memory_gb == 1)
    inputs, target = samples.__getitems__(range(20))
    expected_size = tuple(n or extent for n, extent in zip(size, SHAPE, strict=True))
    assert inputs.shape == target.shape == (20, 1, *expected_size)
    for row in range(20):
        case, start = samples.draw(row)
        box = prepared.read(prepared.cases()[case], ["t1", "t2"], start, expected_size)
        np.testing.assert_array_equal(inputs[row, 0], box[0])
        np.testing.assert_array_equal(target[row, 0], box[1])
        inside = [n >= extent or 0 <= s <= extent - n for s, n, extent in zip(start, expected_size, SHAPE, strict=True)]
        assert all(inside)
        assert torch.equal(samples[row][0], inputs[row])


def test_any_voxel_of_the_mask_is_equally_likely_to_be_the_centre(prepared: PreparedCohort) -> None:
    samples = patches(prepared, (1, 1, 1))
    brain = prepared.array("p0", "brain") > 0
    hits, cases = np.zeros(SHAPE), np.zeros(3)
    n = 6000
    for number in range(n):
        case, start = samples.draw(number)
        hits[start] += 1
        cases[case] += 1
    assert not hits[~brain].any()
    expected = n / brain.sum()
    chi_squared = ((hits[brain] - expected) ** 2 / expected).sum()
    freedom = brain.sum() - 1
    assert abs(chi_squared - freedom) < 5 * np.sqrt(2 * freedom)
    assert np.abs(cases - n / 3).max() < 5 * np.sqrt(n * 2 / 9)


def test_any_slice_with_mask_is_equally_likely_to_be_the_centre_of_a_slab(prepared: PreparedCohort) -> None:
    samples = patches(prepared, (None, None, 1))
    hits = np.zeros(SHAPE[2])
    for number in range(1200):
        hits[samples.draw(number)[1][2]] += 1
    assert np.flatnonzero(hits).tolist() == [2, 3, 4, 5, 6, 8]  # slice 8 has two voxels, the others seventy
    assert np.abs(hits[hits > 0] - 200).max() < 5 * np.sqrt(200)


def test_without_a_mask_a_box_lies_anywhere(prepared: PreparedCohort) -> None:
    samples = patches(prepared, (1, 1, 1), within=None)
    starts = np.array([samples.draw(number)[1] for number in range(600)])
    assert starts.min(axis=0).tolist() == [0, 0, 0]
    assert starts.max(axis=0).tolist() == [n - 1 for n in SHAPE]


def test_a_sample_follows_from_seed_and_number_alone(prepared: PreparedCohort) -> None:
    one, same, other = (patches(prepared, (8, 8, 8), seed=seed) for seed in (1, 1, 2))
    first, again = (torch.cat([batch[0] for batch in Loader(one, 4, None, workers)]) for workers in (0, 2))
    assert torch.equal(first, again)
    assert len(first) == 12
    assert torch.equal(same.__getitems__([7])[0], first[7:8])
    assert not torch.equal(other.__getitems__(range(12))[0], first)


def test_epochs_and_ranks_share_no_sample() -> None:
    ranks = [PatchSampler(10, rank, 3) for rank in range(3)]
    first = [list(sampler) for sampler in ranks]
    assert first == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    for sampler in ranks:
        sampler.set_epoch(2)
    assert [next(iter(sampler)) for sampler in ranks] == [20, 21, 22]
    assert [len(sampler) for sampler in ranks] == [3, 3, 3]


def test_boxes_of_cases_of_several_sizes(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path / "p", (SHAPE, (24, 24, 10)))
    assert patches(cohort, (16, 16, 8)).__getitems__(range(8))[0].shape == (8, 1, 16, 16, 8)
    with pytest.raises(CohortError, match="differ in size"):
        patches(cohort, (None, None, 3))


def test_what_no_box_can_be_drawn_from(prepared: PreparedCohort, tmp_path: Path) -> None:
    empty = cohort_of(tmp_path / "p", (SHAPE,), np.zeros(SHAPE, np.uint8))
    with pytest.raises(CohortError, match="p0: no box can be drawn within brain"):
        patches(empty, (8, 8, 8))
    with pytest.raises(CohortError, match="no lesion in the prepared cohort"):
        patches(prepared, (8, 8, 8), within="lesion")
    settings = PatchSettings(size=(8, 8, 8), per_epoch=1, within="brain")
    with pytest.raises(CohortError, match="'val' of the prepared cohort holds no case"):
        PatchSet(prepared, "val", (["t1"], "t2"), settings, 0, 0)
