"""An examination built from its draws: the person, the scans and the truth. No random choice is made here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from mrsynth.core.image import Case, Image
from mrsynth.core.seeds import generator
from mrsynth.core.settings import parse
from mrsynth.core.types import AIR_HU, b_of
from mrsynth.phantom.anatomy import template_anatomy
from mrsynth.phantom.composition import Composition, compose, near_tissue, random_fields
from mrsynth.phantom.draw import PROFILES, SubjectSettings, dose_name
from mrsynth.phantom.kinetics import low_dose_factor
from mrsynth.phantom.lesions import apply_lesions, lesion_labels, nearest_lesion
from mrsynth.phantom.protocols import site_of
from mrsynth.phantom.scanner import (
    Protocol,
    acquire,
    coil_field,
    ct_noise_hu,
    move,
    tissue_signals,
)
from mrsynth.phantom.shape import build_shape, rigid
from mrsynth.phantom.signals import ct_hu, fit_adc_mm2_s
from mrsynth.phantom.template import Grid
from mrsynth.phantom.tissues import TissueTable, tissue_names, tissue_table, with_agent, with_jitter

HEAD_GRID = Grid((176, 232, 184), (-88.0, -122.0, -82.0), 1.0)
BRATS_GRID = Grid((240, 240, 155), (-120.0, -136.0, -68.0), 1.0)
BRAIN_BOX = (slice(40, 200), slice(16, 224), slice(0, 155))
"""The part of BRATS_GRID that can hold a brain; the rest is 0 and is not computed."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What a case was made of, on the grid of its images.

    A scan bears its contrast's name, at a low dose also the dose: t1ld_0.1.

    Attributes:
        tissues: names of the fractions' rows.
        fractions: (tissues, x, y, z), sum 1.
        clean: scan → the ideal image (no field, noise, slices or movement; same scale).
        field: scan → multiplicative coil field.
        movement: scan → 4×4 matrix in mm that carried the head before that scan.
        adc_mm2_s: the true map.
        table: the person's own parameters.
    """

    tissues: tuple[str, ...]
    fractions: np.ndarray
    clean: Mapping[str, np.ndarray]
    field: Mapping[str, np.ndarray]
    movement: Mapping[str, np.ndarray]
    adc_mm2_s: np.ndarray
    table: TissueTable


class Examination:
    """The state while a case is built: the person's composition, and the scans made of it so far."""

    def __init__(self, draws: Mapping[str, Any]) -> None:
        self.draws = draws
        self.settings = parse(SubjectSettings, draws["settings"], "simulated subject")
        self.site = site_of(draws)
        self.stripped = self.settings.skull_stripped
        self.full_grid = (BRATS_GRID if self.stripped else HEAD_GRID).resampled(self.settings.spacing_mm)
        self.box, self.grid = _computed_part(self.full_grid, self.stripped)
        self.composition = _compose(draws, self.grid, self.stripped)
        self.table = with_jitter(tissue_table(self.site.b0_tesla), draws["jitter"])
        self.brain = self.composition.volume(self.composition.brain, False)
        if self.site.mask_mm is not None:
            self.brain &= near_tissue(self.composition, self.site.mask_mm)
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
            image = self.image(contrast if dose is None else dose_name(dose), dose)
            images[contrast] = replace(image, contrast=contrast)  # a low dose of 0 or 1 is scanned as t1 or t1ce
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
        """Return one scan as an image.

        Args:
            scan: its name.
            dose: fraction of the full dose; None where no agent was given yet.
        """
        if scan == "adc":
            return self._finish(self._adc(), "adc")
        if scan == "ct":
            return self._finish(self._ct(), "ct")
        b_s_mm2 = b_of(scan)
        usual = "t1" if scan.startswith("t1") else scan if b_s_mm2 is None else "dwi"
        protocol = self.site.contrasts[scan if scan in self.site.contrasts else usual]
        table = with_agent(self.table, self.site.agent, dose) if dose else self.table
        own = self._own_kinetics(protocol, dose) if dose and scan.startswith("t1ld") else None
        data = self._scan(scan, protocol, tissue_signals(protocol, table, b_s_mm2), own)
        if scan == "dwi":
            self.b_images = [self._scan("dwi_b0", protocol, tissue_signals(protocol, table, 0.0)), data]
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

    def _own_kinetics(self, protocol: Protocol, dose: float) -> np.ndarray | None:
        """Return what each lesion's own wash-in and wash-out adds to the ideal signal of a low-dose scan (x, y, z).

        None where the draws know of no kinetics (phantoms of before) or there is no lesion.
        """
        kinetics, lesions = self.draws.get("kinetics"), self.draws["lesions"]
        if kinetics is None or not lesions:
            return None
        tumour = self.table.index("enhancing_tumour")
        times = float(kinetics["scan_min"]), float(kinetics["second_min"])
        doses = [min(dose * low_dose_factor(float(kep), dose, *times), 1.0) for kep in kinetics["kep_per_min"]]
        signals = [
            tissue_signals(protocol, with_agent(self.table, self.site.agent, one))[tumour] for one in (dose, *doses)
        ]
        change = torch.tensor(np.array(signals[1:]) - signals[0], dtype=torch.float32)
        share = self.composition.fractions[tumour]
        return self.composition.volume(share * change[nearest_lesion(self.composition, lesions)], 0.0)

    def _scan(self, scan: str, protocol: Protocol, values: np.ndarray, further: np.ndarray | None = None) -> np.ndarray:
        """Return a magnitude image: ideal signal → movement → slices → coil field → noise, in the site's scale.

        values: of the tissues; further: signal (x, y, z) that a tissue has in single places alone.

        The images of a diffusion series (dwi_b0, dwi_b500 …) share one draw; each has its own noise.
        """
        b_s_mm2 = b_of(scan)
        draw = self.draws["scans"][scan if b_s_mm2 is None else "dwi"]
        reference = tissue_signals(protocol, self.table)[self.table.index("white")]
        scale = protocol.scale * draw["gain"]
        clean = self.composition.mix(values * (scale / reference))
        if further is not None:
            clean = clean + (further * (scale / reference)).astype(clean.dtype)
        self.clean[scan] = clean
        self.movement[scan] = rigid(draw["rotation_deg"], draw["shift_mm"])
        self.field[scan] = coil_field(self.draws["coil_seed"], draw["bias"], self.grid)
        moved = move(clean, self.movement[scan], self.grid)
        rng = generator(draw["noise_seed"], "" if b_s_mm2 is None else f"b{b_s_mm2}")
        return acquire(moved, self.field[scan], protocol, self.grid.spacing_mm, draw["noise"] * scale, rng)

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
        rng, sigma_hu = generator(draw["noise_seed"], ""), ct_noise_hu(self.grid.spacing_mm)
        noise = rng.standard_normal(moved.shape, np.float32) * sigma_hu
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
