"""How a prepared cohort lies on disk and is read for training: Blosc2 beside zarr and memory maps, and mrsynth's boxes
beside the patch loaders of TorchIO and MONAI (where they are installed), in turns on the same data.

A sample is a box of three inputs and the target. Cold: the system's page cache holds nothing of the case.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import TOY, environment, medians, row, sized
from mrsynth.core.image import Case
from mrsynth.io import CaseRow, PreparedCohort, read_case
from mrsynth.io.chunks import fill_box, open_chunked, write_chunked
from mrsynth.phantom import SubjectSettings, simulate_subject
from mrsynth.recipes.sections import PatchSettings
from mrsynth.steps import run_steps
from mrsynth.train.loader import Loader, Samples
from mrsynth.train.patches import PatchSampler, PatchSet

REAL = Path(__file__).parents[2] / "shared" / "data" / "brats"
CASES, WORKERS, BATCH, SAMPLES = sized((6, 2, 4, 24), (1, 0, 1, 1))
EPOCH, SKIP, COUNTED, SPACING_MM = sized((400, 40, 200, 1.0), (2, 1, 2, 4.0))
NAMES = ("t1", "t2", "flair", "t1ce")
STEPS = [{"brain_mask": {"source": "auto"}}, {"zscore": {}}, {"unit": {}}]
BOXES: dict[str, tuple[int | None, int | None, int | None]] = {
    "slice": (None, None, 1),
    "slab of 3 slices": (None, None, 3),
    "cube of 64³": sized((64, 64, 64), (16, 16, 16)),
}
Start = tuple[int, int, int]


@dataclass(frozen=True)
class Format:
    """One way to store an array: write (path without suffix, array), read (box to fill, path, start)."""

    write: Callable[[Path, np.ndarray], object]
    read: Callable[[np.ndarray, Path, Start], None]


def of_zarr() -> Format:
    """zarr 3 with Blosc's LZ4, as Blosc2 here; files of 64×64×16 voxels, the best of the sizes tried."""
    import zarr

    packing = zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")

    def write(path: Path, data: np.ndarray) -> None:
        array = zarr.create_array(
            f"{path}.zarr", shape=data.shape, dtype=data.dtype, chunks=(64, 64, 16), compressors=packing
        )
        array[...] = data

    def read(box: np.ndarray, path: Path, start: Start) -> None:
        array = zarr.open_array(f"{path}.zarr", mode="r")
        box[...] = array[tuple(slice(first, first + n) for first, n in zip(start, box.shape, strict=True))]

    return Format(write, read)


FORMATS: dict[str, Format] = {
    "npy": Format(
        lambda path, data: np.save(path.with_suffix(".npy"), np.asfortranarray(data)),
        lambda box, path, start: fill_box(box, np.load(path.with_suffix(".npy"), mmap_mode="r"), start),
    ),
    "blosc2": Format(
        lambda path, data: write_chunked(path.with_suffix(".b2nd"), data),
        lambda box, path, start: fill_box(box, open_chunked(path.with_suffix(".b2nd")), start),
    ),
    **({"zarr": of_zarr()} if find_spec("zarr") else {}),
}


def prepared(folder: Path, phantom: bool) -> PreparedCohort:
    """Prepare cases of 240×240×155 voxels on a background of 0: phantoms, or real patients."""
    cohort = PreparedCohort.create(folder, recipe="bench", steps=[], contrasts=NAMES)
    settings = SubjectSettings.model_validate({"profile": "brats", "spacing_mm": SPACING_MM, "lesion": "glioma_high"})
    sources: list[Any] = list(range(sized(2, 1))) if phantom else sorted(REAL.glob("BraTS2021*"))[:CASES]
    for source in sources:
        case = simulate_subject(source, settings) if phantom else read_case(source, NAMES)
        case, _ = run_steps(Case({n: case.image(n) for n in NAMES}), STEPS)
        cohort.write_case(CaseRow(str(source), f"case-{len(cohort.rows)}", "train", {}), case, [], "f")
    cohort.finish(cohort.cases())
    return cohort


def written(cohort: PreparedCohort, folder: Path, name: str) -> tuple[float, float]:
    """Write all arrays in a format below folder/name; returns size as a share of the raw voxels, and seconds a case."""
    raw, seconds = 0, 0.0
    for case in cohort.cases():
        place = folder / name / case
        place.mkdir(parents=True)
        for contrast in NAMES:
            data = cohort.array(case, contrast)
            raw += data.nbytes
            start = time.perf_counter()
            FORMATS[name].write(place / contrast, data)
            seconds += time.perf_counter() - start
    size = sum(path.stat().st_size for path in (folder / name).rglob("*") if path.is_file())
    return size / raw, seconds / len(cohort.cases())


def drop_pages(folder: Path) -> None:
    """Take a folder's files out of the page cache."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


class Stored(Samples):
    """The samples of a PatchSet, from one of the formats."""

    def __init__(self, samples: PatchSet, folder: Path, name: str) -> None:
        self.samples, self.folder, self.name = samples, folder / name, name
        self.sample_shape = samples.sample_shape

    def __len__(self) -> int:
        return len(self.samples)

    def fill(self, block: np.ndarray, numbers: Sequence[int]) -> None:
        """Fill a block of samples."""
        for sample, number in zip(block, numbers, strict=True):
            self.read(sample, *self.samples.draw(number))

    def read(self, block: np.ndarray, case: int, start: Start) -> None:
        """Fill a sample (contrasts, x, y, z)."""
        place = self.folder / self.samples.cases[case]
        for box, name in zip(block, NAMES, strict=True):
            FORMATS[self.name].read(box, place / name, start)


def box_set(cohort: PreparedCohort, kind: str, per_epoch: int) -> PatchSet:
    settings = PatchSettings(size=BOXES[kind], per_epoch=per_epoch, within="brain")
    return PatchSet(cohort, "train", (NAMES[:-1], NAMES[-1]), settings, seed=0, in_memory_gb=0)


def write_rows(cohort: PreparedCohort, folder: Path, whose: str, place: dict[str, Any]) -> None:
    """Size and time to write of each format."""
    for name in FORMATS:
        size, seconds = written(cohort, folder, name)
        row("storage", f"{name}, {whose}: size / raw float32", size, "ratio", **place)
        row("storage", f"{name}, {whose}: write four contrasts", seconds, "s", **place)


def read_rows(cohort: PreparedCohort, folder: Path, whose: str, place: dict[str, Any]) -> None:
    """Time to read a sample from each format, in turns, and samples a second of two workers."""
    for kind in BOXES:
        samples = box_set(cohort, kind, SAMPLES)
        stored = [Stored(samples, folder, name) for name in FORMATS]
        cold: list[list[float]] = [[] for _ in stored]
        warm: list[list[float]] = [[] for _ in stored]
        block = np.zeros(samples.sample_shape, dtype=np.float32)
        for number in range(SAMPLES):
            case, start = samples.draw(number)
            for one, cold_times, warm_times in zip(stored, cold, warm, strict=True):
                drop_pages(one.folder / samples.cases[case])
                for times in (cold_times, [], warm_times):
                    begin = time.perf_counter()
                    one.read(block, case, start)
                    times.append(time.perf_counter() - begin)
        for state, taken in (("cold", cold), ("warm", warm)):
            for name, middle in zip(FORMATS, medians(taken), strict=True):
                row("storage", f"{name}, {whose}: {kind}, {state}", 1e3 * middle, "ms", **place)
        samples = box_set(cohort, kind, EPOCH)
        for name in FORMATS:
            batches = Loader(Stored(samples, folder, name), BATCH, PatchSampler(len(samples)), WORKERS)
            speed = rate(endless(batches, lambda batch: len(batch[0])), SKIP, COUNTED)
            row("storage", f"{name}, {whose}: {kind}, warm, {WORKERS} workers", speed, "samples/s", **place)


def endless(batches: Any, count: Callable[[Any], int]) -> Iterator[int]:
    """Yield the samples of each batch, epoch after epoch."""
    while True:
        for batch in batches:
            yield count(batch)


def rate(counts: Iterator[int], skip: int, samples: int) -> float:
    """Return samples a second, after `skip` of them."""
    done = 0
    while done < skip:
        done += next(counts)
    start, done = time.perf_counter(), 0
    while done < samples:
        done += next(counts)
    return done / (time.perf_counter() - start)


def mrsynth_rate(cohort: PreparedCohort, kind: str) -> float:
    samples = box_set(cohort, kind, EPOCH)
    batches = Loader(samples, BATCH, PatchSampler(len(samples)), WORKERS)
    return rate(endless(batches, lambda batch: len(batch[0])), SKIP, 2 * COUNTED)


def torchio_rate(files: dict[str, dict[str, Path]], size: tuple[int, ...]) -> float:
    """TorchIO's queue with the lengths of its documentation (300 patches, 10 a volume), from uncompressed files."""
    import torchio as tio

    subjects = [tio.Subject({n: tio.ScalarImage(p) for n, p in case.items()}) for case in files.values()] * 10
    dataset = tio.SubjectsDataset(subjects)
    queue = tio.Queue(dataset, 300, 10, tio.UniformSampler(size), num_workers=WORKERS)
    batches = tio.SubjectsLoader(queue, batch_size=BATCH, num_workers=0)

    def count(batch: Any) -> int:
        return len(torch.cat([batch[name][tio.DATA] for name in NAMES], dim=1))

    return rate(endless(batches, count), 300, 300)  # one filling of the queue, from empty to empty


def monai_rate(files: dict[str, dict[str, Path]], size: tuple[int, ...], cache: Path, crops: int) -> float:
    """MONAI's PersistentDataset (all but the crop is cached); crops: boxes of a volume that is loaded, 1 or more."""
    from monai import transforms
    from monai.data import DataLoader as MonaiLoader
    from monai.data import PersistentDataset

    one = transforms.RandSpatialCropd(["x"], size, random_size=False)
    crop = one if crops == 1 else transforms.RandSpatialCropSamplesd(["x"], size, crops, random_size=False)
    steps = [
        transforms.LoadImaged(NAMES),
        transforms.EnsureChannelFirstd(NAMES),
        transforms.ConcatItemsd(NAMES, "x"),
        transforms.SelectItemsd(["x"]),
        transforms.EnsureTyped(["x"], track_meta=False),
        crop,
    ]
    items = [{name: str(path) for name, path in case.items()} for case in files.values()]
    dataset = PersistentDataset(items * 10, transforms.Compose(steps), cache_dir=cache)
    for number in range(len(items)):
        dataset[number]
    batches = MonaiLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    return rate(endless(batches, lambda batch: len(batch["x"])), 16 * crops, 60 * crops)


def loader_rows(cohort: PreparedCohort, folder: Path, place: dict[str, Any]) -> None:
    """mrsynth's boxes beside TorchIO's and MONAI's, from the same voxels; mrsynth measured before and after each."""
    import nibabel

    files: dict[str, dict[str, Path]] = {}
    for case in cohort.cases():
        for name in NAMES:
            path = folder / "nii" / case / f"{name}.nii"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(cohort.array(case, name), np.eye(4)), path)
            files.setdefault(case, {})[name] = path
    for kind in list(BOXES)[1:]:
        size = box_set(cohort, kind, 1).size
        others = {
            "TorchIO Queue": lambda size=size: torchio_rate(files, size),
            "MONAI PersistentDataset + RandSpatialCrop": lambda size=size: monai_rate(files, size, folder / "m", 1),
            "MONAI the same, 8 crops a volume": lambda size=size: monai_rate(files, size, folder / "m", 8),
        }
        ours = [mrsynth_rate(cohort, kind)]
        for name, measure in others.items():
            there = measure()
            ours.append(mrsynth_rate(cohort, kind))
            row("storage", f"{name}: {kind}, {WORKERS} workers", there, "samples/s", **place)
            wanted = "" if "8 crops" in name else "≥ 5"
            row("storage", f"mrsynth / {name}: {kind}", sum(ours[-2:]) / 2 / there, "ratio", wanted, **place)
        row("storage", f"mrsynth PatchSet: {kind}, {WORKERS} workers", medians([ours])[0], "samples/s", **place)


def main() -> None:
    torch.set_num_threads(1)
    place = environment("blosc2", "numpy", *(name for name in ("zarr", "torchio", "monai") if find_spec(name)))
    whose = ["phantom", *(["BraTS"] if REAL.is_dir() and not TOY else [])]
    for name in whose:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            cohort = prepared(folder / "p", name == "phantom")
            write_rows(cohort, folder, name, place)
            if name != whose[-1]:
                continue
            read_rows(cohort, folder, name, place)
            if find_spec("torchio") and find_spec("monai") and not TOY:
                loader_rows(cohort, folder, place)


if __name__ == "__main__":
    main()
