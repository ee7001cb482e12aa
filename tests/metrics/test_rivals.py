"""Laws of the rivals: each finds exactly what it can express, minimises its loss, and survives a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from mrsynth.core.errors import InputError, ModelError
from mrsynth.metrics.dose_line import DoseLine
from mrsynth.metrics.linear_filter import LinearFilter
from mrsynth.metrics.rivals import MAX_BYTES, RIVALS, RivalCase, RivalFit, Rivals, load_rivals, save_rivals
from mrsynth.metrics.voxel_table import PointLoss, VoxelTable, smoothed, weighted_median

SHAPE = (14, 15, 16)
EDGES = (1.0, 1.0, 1.0)


def brain() -> np.ndarray:
    grid = np.indices(SHAPE)
    return ((grid - np.array([7, 7, 8])[:, None, None, None]) ** 2).sum(0) <= 36


def draw(seed: int, dose: float | None = None) -> RivalCase:
    """A case of two inputs; the target is a step function of t1, whatever t2 says."""
    rng = np.random.default_rng(seed)
    t1, t2 = rng.random(SHAPE).astype(np.float32), rng.random(SHAPE).astype(np.float32)
    target = np.where(t1 > 0.5, 0.9, 0.2).astype(np.float32)
    return RivalCase({"t1": t1, "t2": t2}, brain(), EDGES, target, dose, 3.0)


def fitted(*cases: RivalCase, target: str = "t1ce", loss: PointLoss | None = None) -> Rivals:
    fit = RivalFit(target, len(cases), loss)
    for case in cases:
        fit.update(case)
    return fit.finish()


@given(st.integers(0, 10_000), st.integers(2, 200))
def test_a_function_of_one_inputs_levels_is_found_exactly(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    values, answer = np.sort(rng.random(levels)), rng.random(levels)
    level = rng.integers(0, levels, 40 * levels)
    x, y = values[level], answer[level]
    table = VoxelTable.fit({"ct": x}, y, np.ones(x.size), "squared")
    known = np.bincount(level, minlength=levels) >= 8
    assert np.allclose(table.predict({"ct": values[known]}), answer[known], atol=1e-5)


def test_a_line_of_the_nearest_input_is_found_exactly_between_quantiles_too() -> None:
    rng = np.random.default_rng(0)
    x, other = rng.random(5000), rng.random(5000)
    table = VoxelTable.fit({"t2": other, "t1": x}, 0.7 * x + 0.1, np.ones(x.size), "absolute")
    new = rng.random(100)
    assert np.allclose(table.predict({"t1": new, "t2": rng.random(100)}), 0.7 * new + 0.1, atol=1e-5)


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_the_weighted_median_minimises_the_weighted_absolute_error(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    value, weight = rng.normal(size=size), rng.choice([1.0, 11.0], size)
    found = weighted_median(np.zeros(size, int), value, weight, 2)
    losses = (weight * np.abs(value[:, None] - value)).sum(axis=1)
    assert (weight * np.abs(value - found[0])).sum() == pytest.approx(losses.min())
    assert np.isnan(found[1])  # nothing fell into the second cell


def test_medians_of_many_cells_are_those_of_each_cell_alone() -> None:
    rng = np.random.default_rng(1)
    cell, value, weight = rng.integers(0, 5, 400), rng.normal(size=400), rng.random(400) + 0.1
    together = weighted_median(cell, value, weight, 6)
    for number in range(5):
        own = cell == number
        alone = weighted_median(np.zeros(own.sum(), int), value[own], weight[own], 1)
        assert together[number] == pytest.approx(alone[0])


def test_the_table_of_the_loss_beats_the_table_of_the_mean_in_the_loss_and_loses_in_squares() -> None:
    rng = np.random.default_rng(2)
    t1 = rng.random(SHAPE).astype(np.float32)
    target = t1 + np.where(rng.random(SHAPE) < 0.3, 0.4, 0.0).astype(np.float32)  # enhances by chance
    case = RivalCase({"t1": t1}, brain(), EDGES, target)
    made, _ = fitted(case, loss=PointLoss(kind="absolute", local=10)).images(case)
    inside, weight = brain(), 1 + 10 * (target - t1 > 0.1)
    loss = {name: (weight * np.abs(made[name] - target))[inside].sum() for name in ("table_mean", "table_loss")}
    square = {name: np.square(made[name] - target)[inside].sum() for name in loss}
    assert loss["table_loss"] < 0.9 * loss["table_mean"]
    assert square["table_mean"] < square["table_loss"]


def test_a_cell_of_few_voxels_takes_the_value_about_it() -> None:
    x = np.concatenate([np.repeat(np.arange(10.0), 50), [10.0]])
    y = np.concatenate([np.repeat([0.0, 1.0], 250), [50.0]])
    table = VoxelTable.fit({"t1": x}, y, np.ones(x.size), "squared")
    assert abs(float(table.predict({"t1": np.array([10.0])})[0])) < 10  # not the outlier's own 50


@pytest.mark.parametrize("seed", [0, 1])
def test_a_linear_filter_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    taps = {name: rng.normal(size=(3, 3, 3)) for name in ("t1", "t2")}
    fit = LinearFilter()
    for _ in range(2):
        inputs = {name: rng.random(SHAPE).astype(np.float32) for name in taps}
        parts = [ndimage.correlate(inputs[name], taps[name], mode="nearest") for name in taps]
        target = np.sum(parts, axis=0) + 0.3
        fit.update(inputs, target, brain(), np.arange(brain().sum()), EDGES)
    offset, found = fit.coefficients()
    assert offset == pytest.approx(0.3, abs=1e-3)
    assert np.allclose(found, np.stack([*taps.values()]), atol=1e-3)
    assert np.allclose(fit.predict(inputs, brain())[brain()], target[brain()], atol=1e-3)
    assert not fit.predict(inputs, brain())[~brain()].any()


def test_on_a_finer_grid_the_taps_lie_as_far_apart_in_millimetres() -> None:
    rng = np.random.default_rng(3)
    coarse, fit = rng.random(SHAPE), LinearFilter()
    target = ndimage.correlate(coarse, rng.normal(size=(3, 3, 3)), mode="nearest")
    fit.update({"ct": coarse}, target, brain(), np.arange(brain().sum()), (2.0, 2.0, 2.0))
    fine = np.repeat(np.repeat(np.repeat(coarse, 2, 0), 2, 1), 2, 2)
    mask = np.repeat(np.repeat(np.repeat(brain(), 2, 0), 2, 1), 2, 2)
    found = fit.predict({"ct": fine}, mask, EDGES)
    assert np.allclose(found[::2, ::2, ::2][brain()], target[brain()], atol=1e-3)


def dose_case(seed: int, dose: float, k: float, b0_tesla: float = 3.0) -> RivalCase:
    rng = np.random.default_rng(seed)
    native = rng.random(SHAPE).astype(np.float32)
    standard = native + np.where(rng.random(SHAPE) < 0.2, 0.8, 0.0).astype(np.float32)
    low = native + np.float32(k) * (standard - native)
    return RivalCase({"t1": native, "t1ce": standard}, brain(), EDGES, low, dose, b0_tesla)


def test_the_dose_line_finds_k_at_each_dose_and_field_and_between_them() -> None:
    cases = [dose_case(0, 0.1, 0.15), dose_case(1, 0.3, 0.4), dose_case(2, 0.1, 0.25, 1.5), dose_case(3, 0.3, 0.5, 1.5)]
    line = fitted(*cases, target="t1ld").dose_line
    assert line is not None
    assert line.k(0.1, 3) == pytest.approx(0.15, rel=1e-4)
    assert line.k(0.2, 3) == pytest.approx(0.275, rel=1e-4)
    assert line.k(0.1, 2.25) == pytest.approx(0.2, rel=1e-4)
    assert line.k(0, 3) == 0
    assert line.k(1, 3) == pytest.approx(1)
    made, _ = fitted(*cases, target="t1ld").images(cases[1])
    assert np.allclose(made["dose_line"][brain()], cases[1].target[brain()], atol=1e-5)  # type: ignore[index]


def test_the_line_to_the_standard_dose_is_the_inverse_one() -> None:
    case = dose_case(0, 0.1, 0.2)
    inverse = RivalCase({"t1": case.inputs["t1"], "t1ld": case.target}, brain(), EDGES, case.inputs["t1ce"], 0.1, 3.0)  # type: ignore[dict-item]
    line = fitted(inverse, target="t1ce").dose_line
    assert line is not None
    assert line.k(0.1, 3) == pytest.approx(5, rel=1e-4)


def test_every_rival_is_made_and_says_why_where_it_cannot() -> None:
    rivals = fitted(draw(0), draw(1), loss=PointLoss(kind="absolute", local=1))
    made, lacking = rivals.images(draw(2))
    assert set(made) == set(RIVALS) - {"dose_line", "table_smooth"}
    assert not lacking
    assert all(image.dtype == np.float32 and not image[~brain()].any() for image in made.values())
    one = RivalCase({"t1": draw(2).inputs["t1"]}, brain(), EDGES)
    made, lacking = rivals.images(one)
    assert set(made) == {"identity", "training_mean"}
    assert lacking["filter"] == "t2 is missing"


def test_of_one_noisy_input_the_smoothed_table_beats_the_plain_one() -> None:
    rng = np.random.default_rng(4)
    clean = np.broadcast_to((np.arange(SHAPE[0]) // 5)[:, None, None] / 3.0, SHAPE)
    ct = (clean + rng.normal(0, 0.3, SHAPE)).astype(np.float32)
    case = RivalCase({"ct": ct}, brain(), EDGES, clean.astype(np.float32))
    new = RivalCase({"ct": (clean + rng.normal(0, 0.3, SHAPE)).astype(np.float32)}, brain(), EDGES)
    made, _ = fitted(case, target="t1").images(new)
    error = {name: np.abs(made[name] - clean)[brain()].mean() for name in ("table_mean", "table_smooth")}
    assert error["table_smooth"] < 0.9 * error["table_mean"]


def test_smoothed_features_are_those_of_the_whole_volume() -> None:
    case = draw(5)
    inside = brain()
    found = smoothed(case.inputs, inside, EDGES)
    whole = ndimage.gaussian_filter(case.inputs["t1"], 0.7)
    assert np.allclose(found["t1"], whole[inside], atol=1e-6)
    assert set(np.unique(found["depth"])) <= {0, 1, 2, 3}


def test_the_rivals_survive_a_file_without_pickle(tmp_path: Path) -> None:
    cases = [dose_case(0, 0.1, 0.15), dose_case(1, 0.3, 0.4)]
    rivals = fitted(*cases, target="t1ld", loss=PointLoss(kind="absolute"))
    save_rivals(rivals, tmp_path / "baselines.npz")
    made, _ = rivals.images(cases[0])
    again, _ = load_rivals(tmp_path / "baselines.npz").images(cases[0])
    assert set(made) == set(again) == set(RIVALS) - {"table_smooth"}
    assert all(np.array_equal(made[name], again[name]) for name in made)


def test_the_baselines_of_an_older_run_are_read(tmp_path: Path) -> None:
    rivals = fitted(draw(0))
    parts = {"identity": rivals.identity.to_dict(), "mean": rivals.mean.to_dict()}
    arrays = {f"{part}.{key}": value for part, state in parts.items() for key, value in state.items()}
    np.savez_compressed(tmp_path / "old.npz", allow_pickle=False, **arrays)
    made, lacking = load_rivals(tmp_path / "old.npz").images(draw(1))
    assert set(made) == {"identity", "training_mean"}
    assert not lacking


def test_a_foreign_or_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "baselines.npz"
    with pytest.raises(ModelError, match="missing"):
        load_rivals(path)
    path.write_bytes(b"no archive")
    with pytest.raises(ModelError, match="damaged"):
        load_rivals(path)
    save_rivals(fitted(draw(0)), path)
    whole = dict(np.load(path, allow_pickle=False))
    for key, wrong in (("table_mean.cells", np.zeros((2, 2))), ("filter.products", np.zeros(3))):
        np.savez_compressed(path, allow_pickle=False, **{**whole, key: wrong})
        with pytest.raises(ModelError, match="damaged"):
            load_rivals(path)
    np.savez_compressed(path, allow_pickle=False, **{**whole, "schema": np.array(99)})
    with pytest.raises(ModelError, match="later version"):
        load_rivals(path)
    np.savez_compressed(path, bomb=np.zeros(MAX_BYTES // 8 + 1))
    with pytest.raises(ModelError, match="too large"):
        load_rivals(path)
    np.savez(path, allow_pickle=True, **{**whole, "identity.inputs": np.array([{}], dtype=object)})
    with pytest.raises(ModelError, match="damaged"):
        load_rivals(path)


def test_wrong_use_is_refused_in_words() -> None:
    with pytest.raises(InputError, match="no training case"):
        RivalFit("t1ce", 1).finish()
    with pytest.raises(InputError, match="no training case"):
        LinearFilter().coefficients()
    with pytest.raises(InputError, match="lacks an input"):
        VoxelTable.fit({"t1": np.arange(9.0)}, np.arange(9.0), np.ones(9), "squared").predict({"t2": np.arange(9.0)})
    with pytest.raises(InputError, match="no voxel that enhances"):
        DoseLine("t1ld").k(0.1, 3)
    case = draw(0)
    with pytest.raises(InputError, match="no target"):
        RivalFit("t1ce", 1).update(RivalCase(case.inputs, case.brain, EDGES))
