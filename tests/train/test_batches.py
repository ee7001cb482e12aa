from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrsynth.errors import CohortError
from mrsynth.image import Case, Image
from mrsynth.io import CaseRow, PreparedCohort
from mrsynth.train.batches import SliceSet
from mrsynth.train.loader import Loader
from tiny import tiny_prepared


@pytest.mark.parametrize("in_memory_gb", [0, 1])
def test_every_kept_slice_of_every_case_is_there(tmp_path: Path, in_memory_gb: float) -> None:
    prepared = tiny_prepared(tmp_path / "p")
    samples = SliceSet(prepared, "train", (["t1"], "t2"), 0.1, in_memory_gb)
    assert (samples.memory is None) == (in_memory_gb == 0)
    inputs, target = samples.__getitems__(range(len(samples)))
    cases, ks = samples.index.T
    assert sorted(set(cases)) == [0, 1, 2]
    for row, (case, k) in enumerate(zip(cases, ks, strict=True)):
        name = prepared.cases("train")[case]
        np.testing.assert_array_equal(inputs[row, 0], prepared.array(name, "t1")[..., k])
        np.testing.assert_array_equal(target[row, 0], prepared.array(name, "t2")[..., k])


def test_two_workers_give_what_none_gives(tmp_path: Path) -> None:
    samples = SliceSet(tiny_prepared(tmp_path / "p"), "train", (["t1"], "t2"), 0.1, in_memory_gb=0)
    for alone, shared in zip(Loader(samples, 5, None, 0), Loader(samples, 5, None, 2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))


def test_slices_of_several_sizes_are_refused(tmp_path: Path) -> None:
    cohort = PreparedCohort.create(tmp_path / "p", recipe="r", steps=[], contrasts=["t1", "t2"])
    for name, width in (("a", 4), ("b", 5)):
        ones = np.ones((width, 4, 3), np.float32)
        images = {n: Image(ones, np.eye(4), n) for n in ("t1", "t2")}
        case = Case(images, {"brain": Image(ones, np.eye(4), "brain")})
        cohort.write_case(CaseRow(name, name, "train", {}), case, [], name)
    cohort.finish(["a", "b"])
    with pytest.raises(CohortError, match="differ in size") as caught:
        SliceSet(cohort, "train", (["t1"], "t2"), 0.1, 1)
    assert "4×4 and 5×4" in str(caught.value)
