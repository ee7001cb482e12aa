"""One person of the phantom: everything is drawn first (`draw_subject`), then built from the draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from mrsynth.image import Case, Image
from mrsynth.seeds import derive_seed, generator
from mrsynth.settings import Settings, parse
from mrsynth.simulate.anatomy import template_anatomy
from mrsynth.simulate.composition import Composition, compose, random_fields
from mrsynth.simulate.lesions import KINDS, apply_lesions, draw_lesions, lesion_labels
from mrsynth.simulate.scanner import (
    AIR_HU,
    CT_NOISE_HU,
    Protocol,
    SiteProfile,
    add_rician,
    coil_field,
    move,
    site_profile,
    sites,
    thick_slices,
    tissue_signals,
)
from mrsynth.simulate.shape import MEAN_SCALE, build_shape, draw_shape, rigid
from mrsynth.simulate.signals import ct_hu, fit_adc_mm2_s
from mrsynth.simulate.template import Grid
from mrsynth.simulate.tissues import TissueTable, draw_jitter, tissue_names, tissue_table, with_agent, with_jitter

PROFILES: dict[str, tuple[str, ...]] = {
    "brats": ("t1", "t1ce", "t2", "flair"),
    "ct": ("ct", "t1", "t2"),
    "dose": ("t1", "t1ld", "t1ce"),
    "full": ("t1", "t1ce", "t2", "flair", "dwi", "adc", "ct"),
}
"""The contrasts of each profile."""

HEAD_GRID = Grid((176, 232, 184), (-88.0, -122.0, -82.0), 1.0)
BRATS_GRID = Grid((240, 240, 155), (-120.0, -136.0, -68.0), 1.0)
BRAIN_BOX = (slice(40, 200), slice(16, 224), slice(0, 155))
"""The part of BRATS_GRID that can hold a brain; the rest is 0 and is not computed."""


class SubjectSettings(Settings):
    """What to simulate.

    profile: which contrasts (see PROFILES); spacing_mm: 1 is the full resolution, 2 is quick; lesion: a kind of
    `KINDS` or "random"; site: a site's name or "random"; doses: of t1ld, as fractions of the full dose; stripped:
    only the brain on BraTS's grid (by default for brats and dose) or the whole head; registered: False leaves the
    patient's movement between contrasts in; variation: how far the shape departs from the template (0 none, 1 a
    population).
    """

    profile: Literal["brats", "ct", "dose", "full"] = "brats"
    spacing_mm: float = Field(default=1.0, ge=1.0, le=4.0)
    lesion: Literal["random", "glioma_high", "glioma_low", "metastases", "ms", "none"] = "random"
    site: str = "random"
    doses: tuple[float, ...] = Field(default=(0.1,), min_length=1)
    stripped: bool | None = None
    registered: bool = True
    variation: float = Field(default=1.0, ge=0.0, le=1.5)

    @property
    def skull_stripped(self) -> bool:
        """Whether only the brain is kept."""
        return self.profile in ("brats", "dose") if self.stripped is None else self.stripped


@dataclass(frozen=True, eq=False)
class Truth:
    """What a case was made of, on the grid of its images.

    tissues: names of the fractions' rows; fractions: (tissues, x, y, z), sum 1; clean: contrast → the ideal image (no
    field, noise, slices or movement; same scale); field: contrast → multiplicative coil field; movement: contrast → 4×4
    matrix in mm that carried the head before that contrast; adc_mm2_s: the true map; table: the person's own
    parameters.
    """

    tissues: tuple[str, ...]
    fractions: np.ndarray
    clean: Mapping[str, np.ndarray]
    field: Mapping[str, np.ndarray]
    movement: Mapping[str, np.ndarray]
    adc_mm2_s: np.ndarray
    table: TissueTable


def simulate_subject(seed: int, settings: SubjectSettings | None = None, name: str | None = None) -> Case:
    """Return a simulated examination with masks; metadata["draws"] replays it (see replay_subject).

    name: of patient and case; by default made from the seed. The same seed and settings give the same bytes.
    """
    return _Examination(draw_subject(seed, settings or SubjectSettings(), name)).case()


def simulate_with_truth(
    seed: int, settings: SubjectSettings | None = None, name: str | None = None
) -> tuple[Case, Truth]:
    """Return a simulated examination and its ground truth."""
    examination = _Examination(draw_subject(seed, settings or SubjectSettings(), name))
    return examination.case(), examination.truth()


def replay_subject(draws: Mapping[str, Any]) -> Case:
    """Return the case of recorded draws (metadata["draws"] of a simulated case, also after a round trip through
    JSON).
    """
    return _Examination(draws).case()


def simulate_doses(seed: int, settings: SubjectSettings, doses: Sequence[float]) -> dict[float, Image]:
    """Return the T1-weighted image of one patient at each dose (0 to 1), same anatomy, same scale, each with its own
    noise.

    Dose 0 is the case's t1 and dose 1 its t1ce; the others are named t1ld.
    """
    series = {"profile": "dose", "doses": tuple(doses), "stripped": settings.skull_stripped}
    scanned = _Examination(draw_subject(seed, settings.model_copy(update=series), None))
    return {dose: scanned.image(_dose_name(dose), dose) for dose in doses}


def draw_subject(seed: int, settings: SubjectSettings, name: str | None) -> dict[str, Any]:
    """Draw everything about a person and the examination; the result is JSON-able and complete."""
    person = generator(seed, "person")
    kind = settings.lesion if settings.lesion != "random" else str(person.choice(KINDS))
    site = settings.site if settings.site != "random" else str(person.choice(sorted(sites())))
    low, high = {"ms": (22.0, 55.0), "none": (20.0, 80.0)}.get(kind, (30.0, 80.0))
    age_years = float(person.uniform(low, high))
    atrophy = float(np.clip((age_years - 35.0) / 55.0 + person.normal(0.0, 0.15), 0.0, 1.2)) * settings.variation
    tilt_deg = 0.7 if settings.skull_stripped else 3.0
    shape = draw_shape(generator(seed, "shape"), atrophy, tilt_deg)
    shape["strength"] *= settings.variation
    shape["scale"] = [MEAN_SCALE + (s - MEAN_SCALE) * settings.variation for s in shape["scale"]]
    protocol = site_profile(site)
    return {
        "settings": settings.model_dump(mode="json"),
        "seed": int(seed),
        "name": name or f"phantom-{seed:04d}",
        "site": site,
        "age_years": round(age_years, 1),
        "lesion": kind,
        "lesions": draw_lesions(generator(seed, "lesions"), kind, template_anatomy()),
        "shape": shape,
        "fields_seed": derive_seed(seed, "fields"),
        "jitter": draw_jitter(generator(seed, "tissues"), 0.03),
        "coil_seed": derive_seed(seed, "coil"),
        "scans": {scan: _draw_scan(seed, scan, settings, protocol) for scan in _scan_names(settings)},
    }


def _dose_name(dose: float) -> str:
    """Return the name under which a dose's scan is drawn and kept."""
    return {0.0: "t1", 1.0: "t1ce"}.get(dose, f"t1ld_{dose:g}")


def _scan_names(settings: SubjectSettings) -> list[str]:
    contrasts = [c for c in PROFILES[settings.profile] if c not in ("t1ld", "adc")]
    doses = [_dose_name(dose) for dose in settings.doses] if settings.profile == "dose" else []
    return list(dict.fromkeys([*contrasts, *doses]))


def _draw_scan(seed: int, scan: str, settings: SubjectSettings, site: SiteProfile) -> dict[str, Any]:
    """Draw what happens to one scan: strength of the coil field, noise, gain, and how the head lies relative to t1."""
    rng = generator(seed, "scan", scan)
    turn_deg, shift_mm = (0.15, 0.15) if settings.registered else (1.5, 2.0)
    still = scan == "t1"
    gain = float(np.exp(rng.normal(0.0, 0.015)))
    return {
        "noise_seed": int(rng.integers(2**31)),
        "noise": site.noise * float(rng.uniform(0.8, 1.25)),
        "bias": site.bias * (1.0 if scan.startswith("t1") else float(rng.uniform(0.8, 1.2))),
        "gain": gain * float(np.exp(_session_gain(seed) if scan.startswith("t1") else rng.normal(0.0, 0.15))),
        "rotation_deg": [0.0] * 3 if still else rng.normal(0.0, turn_deg, 3).tolist(),
        "shift_mm": [0.0] * 3 if still else rng.normal(0.0, shift_mm, 3).tolist(),
    }


def _session_gain(seed: int) -> float:
    """Return the log gain that all T1-weighted scans of a session share."""
    return float(generator(seed, "gain").normal(0.0, 0.15))


class _Examination:
    """The state while a case is built: the person's composition, and the scans made of it so far."""

    def __init__(self, draws: Mapping[str, Any]) -> None:
        self.draws = draws
        self.settings = parse(SubjectSettings, draws["settings"], "simulated subject")
        self.site = site_profile(draws["site"])
        self.stripped = self.settings.skull_stripped
        self.full_grid = (BRATS_GRID if self.stripped else HEAD_GRID).resampled(self.settings.spacing_mm)
        self.box, self.grid = _computed_part(self.full_grid, self.stripped)
        self.composition = _compose(draws, self.grid, self.stripped)
        self.table = with_jitter(tissue_table(self.site.b0_tesla), draws["jitter"])
        self.brain = self.composition.volume(self.composition.brain, False)
        self.clean: dict[str, np.ndarray] = {}
        self.field: dict[str, np.ndarray] = {}
        self.movement: dict[str, np.ndarray] = {}
        self.b_images: list[np.ndarray] = []

    def case(self) -> Case:
        """Return the examination: images of the profile, masks, and what was drawn."""
        draws, settings = self.draws, self.settings
        images = {}
        for contrast in PROFILES[settings.profile]:
            dose = {"t1": 0.0, "t1ce": 1.0, "t1ld": settings.doses[0]}.get(contrast)
            images[contrast] = self.image(contrast if dose is None else _dose_name(dose), dose)
        metadata = {
            "patient": draws["name"],
            "case": draws["name"],
            "b0_tesla": self.site.b0_tesla,
            "agent": self.site.agent,
            "dose": settings.doses[0] if settings.profile == "dose" else 1.0,
            "site": draws["site"],
            "seed": draws["seed"],
            "age_years": draws["age_years"],
            "lesion": draws["lesion"],
            "draws": dict(draws),
        }
        return Case(images, self.masks(), metadata)

    def image(self, scan: str, dose: float | None) -> Image:
        """Return one scan as an image; dose None means that no agent was given yet."""
        if scan == "adc":
            return self._finish(self._adc(), "adc")
        if scan == "ct":
            return self._finish(self._ct(), "ct")
        protocol = self.site.contrasts["t1" if scan.startswith("t1") else scan]
        table = with_agent(self.table, self.site.agent, dose) if dose else self.table
        data = self._scan(scan, protocol, tissue_signals(protocol, table))
        if scan == "dwi":
            self.b_images = [self._scan("dwi", protocol, tissue_signals(protocol, table, 0.0), "b0"), data]
        return self._finish(np.rint(data), "t1ld" if scan.startswith("t1ld") else scan)

    def masks(self) -> dict[str, Image]:
        """Return brain, lesion and enhancing masks (uint8)."""
        labels = self.composition.volume(lesion_labels(self.composition), 0)
        masks = {"brain": self.brain, "lesion": labels * self.brain, "enhancing": (labels == 3) & self.brain}
        return {name: self._place(data.astype(np.uint8), name, 0) for name, data in masks.items()}

    def truth(self) -> Truth:
        """Return the truth on the images' own grid."""
        rows = enumerate(self.composition.fractions)
        fractions = np.stack([self._pad(self.composition.volume(row, float(i == 0)), float(i == 0)) for i, row in rows])
        return Truth(
            tissue_names(),
            fractions,
            {name: self._pad(data, AIR_HU if name == "ct" else 0.0) for name, data in self.clean.items()},
            {name: self._pad(data, 1.0) for name, data in self.field.items()},
            dict(self.movement),
            self._pad(self.composition.mix(self.table.adc_mm2_s), 0.0),
            self.table,
        )

    def _scan(self, scan: str, protocol: Protocol, values: np.ndarray, part: str = "") -> np.ndarray:
        """Return a magnitude image: ideal signal → movement → slices → coil field → noise, in the site's scale."""
        draw = self.draws["scans"][scan]
        reference = tissue_signals(protocol, self.table)[self.table.index("white")]
        scale = protocol.scale * draw["gain"]
        clean = self.composition.mix(values * (scale / reference))
        if not part:
            self.clean[scan] = clean
            self.movement[scan] = rigid(draw["rotation_deg"], draw["shift_mm"])
            self.field[scan] = coil_field(self.draws["coil_seed"], draw["bias"], self.grid)
        moved = move(clean, self.movement[scan], self.grid)
        sliced = thick_slices(moved, protocol.slice_mm, self.grid.spacing_mm)
        rng = generator(draw["noise_seed"], part)
        return add_rician(sliced * self.field[scan], draw["noise"] * scale, rng)

    def _adc(self) -> np.ndarray:
        """Return the log-linear ADC (mm²/s) of the noisy b = 0 and b images; 0 in air."""
        low, high = self.b_images
        b = float(self.site.contrasts["dwi"].b_s_mm2 or 0.0)
        tissue = (np.arange(len(tissue_names())) > 0).astype(float)
        seen = move(self.composition.mix(tissue), self.movement["dwi"], self.grid) > 0.5
        return fit_adc_mm2_s(np.stack([low, high]), np.array([0.0, b])).clip(0.0, 4e-3) * seen

    def _ct(self) -> np.ndarray:
        """Return the CT in HU: linear in the fractions, Gaussian noise, AIR_HU outside the body."""
        draw = self.draws["scans"]["ct"]
        self.clean["ct"] = self.composition.mix(ct_hu(self.table.hu))
        self.movement["ct"] = rigid(draw["rotation_deg"], draw["shift_mm"])
        moved = move(self.clean["ct"], self.movement["ct"], self.grid)
        noise = generator(draw["noise_seed"], "").standard_normal(moved.shape, np.float32) * CT_NOISE_HU
        air = moved < -950.0
        return np.where(air, AIR_HU, np.rint(moved + noise)).astype(np.float32)

    def _finish(self, data: np.ndarray, contrast: str) -> Image:
        """Strip the skull where asked and put the computed part on the full grid."""
        outside = AIR_HU if contrast == "ct" else 0.0
        if self.stripped:
            # data sets in atlas space mark the brain by values above 0
            lowest = data if contrast in ("adc", "ct") else np.maximum(data, 1.0)
            data = np.where(self.brain, lowest, outside)
        return self._place(data.astype(np.float32), contrast, outside)

    def _place(self, data: np.ndarray, contrast: str, outside: float) -> Image:
        return Image(self._pad(data, outside), self.full_grid.affine, contrast)

    def _pad(self, data: np.ndarray, outside: float) -> np.ndarray:
        """Return data (..., x, y, z) of the computed part on the full grid."""
        if self.grid.shape == self.full_grid.shape:
            return data
        full = np.full((*data.shape[:-3], *self.full_grid.shape), outside, data.dtype)
        full[(..., *self.box)] = data
        return full


def _computed_part(full: Grid, stripped: bool) -> tuple[tuple[slice, slice, slice], Grid]:
    """Return which part of the full grid is computed, as slices and as a grid."""
    if not stripped:
        x, y, z = (slice(0, n) for n in full.shape)
        return (x, y, z), full
    x, y, z = (
        slice(round(b.start / full.spacing_mm), min(n, round(b.stop / full.spacing_mm)))
        for b, n in zip(BRAIN_BOX, full.shape, strict=True)
    )
    return (x, y, z), full.part((x, y, z))


def _compose(draws: Mapping[str, Any], grid: Grid, brain_only: bool) -> Composition:
    """Return the person's composition with lesions."""
    anatomy = template_anatomy()
    lesions = draws["lesions"]
    pushes = [
        {
            "centre_mm": lesion["centre_mm"],
            "radius_mm": float(np.mean(lesion["radii_mm"])),
            "push_mm": lesion["push_mm"],
        }
        for lesion in lesions
        if lesion["push_mm"] > 0.0
    ]
    shape = build_shape(draws["shape"], anatomy.widening, anatomy.inside, pushes)
    fields = random_fields(int(draws["fields_seed"]))
    composition = compose(anatomy, shape, fields, float(draws["shape"]["atrophy"]), grid, brain_only)
    apply_lesions(composition, lesions, shape, fields)
    return composition
