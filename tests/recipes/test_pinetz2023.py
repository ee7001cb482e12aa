"""pinetz2023 as the paper has it, and the way of its data: a tiny run, then images at the doses that are asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from mrsynth.cli import main
from mrsynth.core.errors import InputError, RecipeError
from mrsynth.core.image import Case
from mrsynth.io import CaseRow, Cohort, write_image
from mrsynth.losses import PatchWasserstein
from mrsynth.losses.registry import build_terms
from mrsynth.model import load_contract
from mrsynth.nets import build_net, count_parameters
from mrsynth.phantom.cohort import DOSE_STRATA, cohort_members
from mrsynth.phantom.scanner import site_profile
from mrsynth.recipes.methods import WganSettings
from mrsynth.recipes.recipe import load_recipe
from mrsynth.steps import run_steps
from mrsynth.synthesize import Doses
from mrsynth.synthesize.run import synthesize_cohort, synthesize_files
from mrsynth.train.run import train
from tiny_doses import STRATA, dose_case, dose_prepared, dose_recipe


class TestRecipe:
    def test_it_is_as_the_paper_says(self):
        recipe = load_recipe("pinetz2023")
        assert (recipe.task.inputs, recipe.task.target) == (["t1", "t1ce"], "t1ld")
        assert count_parameters(build_net(recipe.net.name, **recipe.net.settings)) == 1_812_088
        train, wgan, patch = recipe.train, recipe.method, recipe.samples.patch
        assert isinstance(wgan, WganSettings)
        assert patch is not None
        assert (wgan.condition.dose, wgan.condition.smoothing) == ((0.05, 0.5), 0.05)
        assert (wgan.weight, wgan.penalty, wgan.critic_steps, wgan.embedding) == (1, 100, 5, "separate")
        assert (train.learning_rate, train.betas, train.batch_size) == (1e-4, (0.5, 0.9), 12)
        assert (wgan.learning_rate, wgan.betas) == (1e-4, (0.5, 0.9))
        assert patch.size == (64, 64, 64)
        assert train.epochs * patch.per_epoch // (train.batch_size * wgan.critic_steps) == 100_000
        (term,) = build_terms(recipe.loss)
        assert term == (1, PatchWasserstein(patch=4, solver="exact", reduction="sum"))

    @pytest.mark.parametrize(
        ("variant", "losses", "mae_ce"),
        [("np", ["patch_wasserstein"], 0.011), ("l1", ["mae"], 0.022), ("vgg", ["perceptual"], 0.019)],
    )
    def test_the_content_losses_of_table_1(self, variant: str, losses: list[str], mae_ce: float):
        recipe = load_recipe(f"pinetz2023/{variant}")
        counted = [n for n, spec in recipe.loss.items() if (spec["weight"] if isinstance(spec, dict) else spec)]
        assert counted == losses
        assert recipe.published is not None
        assert recipe.published.translations["t1+t1ce-t1ld"]["mae_ce_mean"] == (mae_ce, None)

    def test_variants_beyond_the_paper_change_one_number_each(self):
        plain = load_recipe("pinetz2023")
        for variant, weight in (("np8", 8), ("np64", 64)):
            ((found, term),) = build_terms(load_recipe(f"pinetz2023/{variant}").loss)
            assert (found, term) == (weight, build_terms(plain.loss)[0][1])
        vgg, weaker = (load_recipe(f"pinetz2023/{name}").loss["perceptual"] for name in ("vgg", "vgg64"))
        assert isinstance(vgg, dict)
        assert weaker == {**vgg, "weight": pytest.approx(16 * 64 / 42_000, rel=0.01)}
        image = load_recipe("pinetz2023/image")
        assert (image.loss, image.method.model_dump()) == (plain.loss, plain.method.model_dump() | {"content": "image"})

    @pytest.mark.parametrize(
        ("override", "named"),
        [
            ("method={kind: supervised}", "go together"),
            ("method.condition=null", "condition"),
            ("net={name: unet3d, settings: {inputs: 2, mode: cube}}", "go together"),
            ("method.critic={name: critic_patch, settings: {}}", "cannot be its critic"),
            ("method.missing={drop: 0.1, flags: false}", "unknown key 'missing'"),
            ("train.devices=2", "several devices"),
            ("samples.patch.size=[64, 64, 8]", "too small for the critic"),
            ("samples.patch.per_epoch=48", "no step of the generator"),
            ("method.condition.dose=[0.5, 0.1]", "least and the largest"),
            ("task.inputs=[t1]", "standard dose"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, override: str, named: str):
        with pytest.raises(RecipeError, match=named):
            load_recipe("pinetz2023", [override])


def test_the_small_profile_brings_any_scan_to_the_phantoms_3_mm():
    steps = [next(iter(step)) for step in load_recipe("pinetz2023/small").prepare]
    assert steps == ["brain_mask", "resample", "pad_or_crop", "radiometric", "q95"]
    case = cohort_members(0, 1, "dose", 3.0)[0].simulate()
    bare = Case({name: case.images[name] for name in ("t1", "t1ce", "t1ld")}, {}, case.metadata)
    with_, without = (run_steps(bare, load_recipe(name).prepare)[0] for name in ("pinetz2023/small", "pinetz2023"))
    for name, image in with_.images.items():  # phantoms of 3 mm are copied
        np.testing.assert_array_equal(image.data, without.images[name].data)


def test_the_phantoms_have_the_papers_strata_evenly():
    members = cohort_members(0, 20, "dose", 4.0)
    found = [(member.settings.site, member.settings.doses[0]) for member in members]
    assert all(found.count(stratum) == 4 for stratum in DOSE_STRATA)
    assert {site_profile(site).agent for site, _ in DOSE_STRATA} == {"gadobutrol"}
    assert {(site_profile(site).b0_tesla, dose) for site, dose in DOSE_STRATA} == {
        (3.0, 0.1),
        (3.0, 0.2),
        (3.0, 0.33),
        (1.5, 0.2),
        (1.5, 0.33),
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and the scans of two cases."""
    folder = tmp_path_factory.mktemp("world")
    recipe = dose_recipe("samples.patch.per_epoch=6", "train.epochs=1")
    train(recipe, dose_prepared(folder / "prepared"), folder / "run")
    for seed in (3, 4):
        for name, image in dose_case(seed).images.items():
            write_image(image, folder / f"{seed}-{name}.nii.gz")
    return folder


def scans(world: Path, seed: int = 3) -> dict[str, Path]:
    return {name: world / f"{seed}-{name}.nii.gz" for name in ("t1", "t1ce")}


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


class TestRun:
    def test_the_contract_says_what_may_be_asked(self, world: Path):
        condition = load_contract(world / "run").condition
        assert condition is not None
        assert (condition.dose, condition.b0_tesla) == ((0.05, 0.5), (1.5, 3.0))

    def test_a_series_of_one_patient(self, world: Path, tmp_path: Path):
        doses = Doses((0.1, 0.47), 3.0, 1)
        synthesize_files(world / "run", scans(world), tmp_path / "a", doses=doses)
        assert {p.name for p in (tmp_path / "a").iterdir()} == {
            f"t1ld_{dose}.{end}" for dose in (0.1, 0.47) for end in ("nii.gz", "json")
        }
        sidecar = json.loads((tmp_path / "a" / "t1ld_0.47.json").read_text())
        assert sidecar["synthetic"] is True
        (image,) = sidecar["made"]["images"]
        assert image["dosage"] == {"dose": 0.47, "b0_tesla": 3.0, "seed": 1, "extrapolated": False}
        header = nib.load(tmp_path / "a" / "t1ld_0.47.nii.gz").header
        assert b"SYNTHETIC t1ld 0.47 3 T mrsynth" in bytes(header["descrip"])
        single = Doses((0.47,), 3.0, 1)
        synthesize_files(world / "run", scans(world), tmp_path / "one.nii.gz", doses=single)
        assert np.array_equal(voxels(tmp_path / "one.nii.gz"), voxels(tmp_path / "a" / "t1ld_0.47.nii.gz"))
        with pytest.raises(InputError, match="2 doses do not fit into one file"):
            synthesize_files(world / "run", scans(world), tmp_path / "two.nii.gz", doses=doses)

    def test_the_command_line(
        self, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        def call(*options: str) -> int:
            given = [word for name, path in scans(world).items() for word in ("--input", f"{name}={path}")]
            words = ["synthesize", "--model", str(world / "run"), *given, "-o", str(tmp_path / "out"), "--quiet"]
            monkeypatch.setattr(sys, "argv", ["mrsynth", *words, *options])
            with pytest.raises(SystemExit) as ended:
                main()
            return int(ended.value.code or 0)

        assert call("--dose", "0.6", "--b0", "3") == 2
        assert "dose 0.6, trained 0.05 to 0.5" in capsys.readouterr().err
        assert call("--dose", "0.1") == 2
        assert "give --b0 3" in capsys.readouterr().err
        assert call("--dose", "0.6", "--b0", "3", "--seed", "2", "--allow-extrapolation") == 0
        sidecar = json.loads((tmp_path / "out" / "t1ld_0.6.json").read_text())
        assert sidecar["made"]["images"][0]["dosage"]["extrapolated"] is True
        assert b"EXTRAPOLATED" in bytes(nib.load(tmp_path / "out" / "t1ld_0.6.nii.gz").header["descrip"])

    def test_a_cohort_at_its_own_doses_or_at_others(self, world: Path, tmp_path: Path):
        rows = [CaseRow(f"p{s}", f"case-{s}", "test", scans(world, s), STRATA[s][1], STRATA[s][0]) for s in (3, 4)]
        unknown = CaseRow("p9", "case-9", "test", scans(world, 3), 3.0, None)
        cohort = Cohort((*rows, unknown))

        def make(out: str, doses: Doses | None = None) -> tuple[list[str], dict[str, Any]]:
            made, failed = synthesize_cohort(world / "run", cohort, tmp_path / out, doses=doses)
            assert len(made) + len(failed) == 3
            return made, json.loads((tmp_path / out / "predictions.json").read_text())

        made, index = make("own")
        assert made == ["case-3", "case-4"]
        images = {name: index["cases"][name]["images"] for name in made}
        assert {name: [image["file"] for image in of] for name, of in images.items()} == {
            name: [f"{name}.nii.gz"] for name in made
        }
        found = [images[name][0]["dosage"] for name in made]
        assert [(c["dose"], c["b0_tesla"]) for c in found] == [STRATA[3], STRATA[4]]
        assert found[0]["seed"] != found[1]["seed"]
        before = (tmp_path / "own" / "case-3.nii.gz").stat().st_mtime_ns
        make("own")
        assert (tmp_path / "own" / "case-3.nii.gz").stat().st_mtime_ns == before
        make("own", Doses(seed=5))
        assert (tmp_path / "own" / "case-3.nii.gz").stat().st_mtime_ns != before
        made, index = make("series", Doses((0.1, 0.17), None, 0))
        assert made == ["case-3", "case-4", "case-9"]
        files = [image["file"] for image in index["cases"]["case-9"]["images"]]
        assert files == ["case-9/t1ld_0.1.nii.gz", "case-9/t1ld_0.17.nii.gz"]
        assert (tmp_path / "series" / "case-3" / "t1ld_0.17.nii.gz").exists()
