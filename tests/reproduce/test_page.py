from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from mrsynth.core.errors import InputError
from mrsynth.reproduce.layout import comparisons_table, measured_table, runs_table
from mrsynth.reproduce.page import build_study
from mrsynth.reproduce.records import Figures, ItemEntry, TableRecord

PAPER = {"U-Net (3D)": (27.21, 1.18), "Ours (3D)": (28.24, 1.26)}


def cell(mean: float | None, sd: float | None = 1.0, published: tuple[float, float] | None = None) -> dict[str, Any]:
    n = 0 if mean is None else 8
    return {"mean": mean, "sd": sd, "n": n, "seeds": min(n, 1), "seed_sd": None, "published": published}


def row(label: str, mean: float | None, state: str = "done", predictor: str = "model", why: str = "") -> dict[str, Any]:
    cells = {"PSNR": cell(mean, published=PAPER.get(label))}
    known = {"label": label, "source": "x", "predictor": predictor, "state": state, "why": why, "cells": cells}
    return {**known, "target": "t1ce"}


def table(name: str, *rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    column = {"label": "PSNR", "convention": "psnr in brain, preset chen2022, 3-D", "higher_is_better": True}
    facts = {"name": name, "title": f"Table {name}", "header": ["Study s, scale smoke."], "note": "", "tests": []}
    return {**facts, "columns": [column], "rows": list(rows), "published_source": "Table I", **more}


def read(content: dict[str, Any]) -> TableRecord:
    return TableRecord.model_validate(content)


def item(name: str, state: str = "done", **more: Any) -> dict[str, Any]:
    facts = {"name": name, "label": name, "kind": "cell", "folder": f"runs/{name}", "seed": 0, "inputs": ["t1", "t2"]}
    facts |= {
        "target": "t1ce",
        "net": "hrfcn",
        "state": state,
        "why": "",
        "failed_cases": [],
        "seconds": {"train": 70.0},
    }
    return {**facts, "device": "cpu", "parameters": 58463233, "epochs": 50, "started_from": None, **more}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A made-up study: two trainings done, one failed, a job not run; a table, a curve, one plate drawn and one not."""
    tables = [
        table(
            "one",
            row("identity", 24.0, predictor="identity"),
            row("U-Net (3D)", 26.5),
            row("Ours (3D)", 27.9),
            row("Worse", 23.0),
            row("MedGAN", None, state="failed", why="out of <memory>\nat line 3"),
            tests=[
                {"a": "Ours (3D)", "b": "U-Net (3D)", "column": "PSNR", "test": "paired t", "n": 8, "p": 0.00037,
                 "mean_difference": 1.4, "reason": "", "published_difference": 1.03, "published_p": "0.00037"},
            ],
        ),
        table("fig7", row("1", 28.0), row("100", None, state="not run"), curve={"x": "λ3 / λ1", "log": True}),
    ]  # fmt: skip
    job = {"cell": "ours", "without": ["t2"], "missing": "zeros", "imputers": {}}
    record = {
        "study": "s", "title": "Contrast <without> gadolinium", "recipe": "chen2022", "scale": "smoke",
        "cohort": "c.csv",
        "phantoms": {"profile": "tumour", "spacing_mm": 4.0}, "patients": {"train": 24, "val": 4, "test": 8},
        "changes": {"variants": [], "set": ["train.epochs=3"], "cells": {"ours": {"variants": [], "set": ["a=1"]}}},
        "seeds": [0], "left_out": [], "tables": ["one", "fig7"], "commit": "abc", "versions": {"mrsynth": "1"},
        "items": [item("ours"), item("unet"), item("medgan", "failed", why="out of <memory>\nat line 3", seconds={}),
                  item("ours/no-t2", "not run", kind="job", seconds={}, job=job, parameters=None, epochs=None)],
        "cores": 2, "updated": "2026-01-01",
    }  # fmt: skip
    (tmp_path / "tables").mkdir()
    (tmp_path / "figures").mkdir()
    (tmp_path / "runs" / "ours").mkdir(parents=True)
    (tmp_path / "runs" / "ours" / "report.html").write_text("")
    for one in tables:
        (tmp_path / "tables" / f"{one['name']}.json").write_text(json.dumps(one))
    (tmp_path / "study.json").write_text(json.dumps(record))
    Picture.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "figures" / "fig4.png")
    plates = [
        {"name": "fig4", "title": "Fig. 4", "cases": ["a", "b"], "file": "fig4.png", "alt": "One slice of a, b: T1"},
        {"name": "fig5", "title": "Fig. 5", "cases": [], "file": None, "why": "no run is finished"},
    ]
    Figures.model_validate({"figures": plates}).write(tmp_path / Figures.FILE)
    return tmp_path


class Tags(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_runs_nothing(study: Path) -> None:
    page = Tags(build_study(study).read_text(encoding="utf-8"))
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe")]
    sources = [attrs[key] for _, attrs in page.tags for key in ("src", "srcset") if key in attrs]
    assert len(sources) == 3  # a curve in two themes, a plate
    assert all(str(source).startswith("data:image/") for source in sources)
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = [str(attrs["href"]) for tag, attrs in page.tags if tag == "a"]
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    assert "runs/ours/report.html" in links
    assert "runs/unet/report.html" not in links  # has none


def test_measured_stands_beside_published_and_what_is_missing_says_so(study: Path) -> None:
    text = re.sub(r"\s+", " ", Tags(build_study(study).read_text(encoding="utf-8")).text)
    for words in (
        "27.90 ± 1.00paper 28.24 ± 1.26",
        "out of <memory>",
        "MedGAN failed: out of <memory>",
        "Contrast <without> gadolinium",
        "2 of 4 trainings and predictions are done, 1 failed, 1 not run or not finished",
        "Not drawn: no run is finished.",
        "58 463 233",
        "t2: zeros",
        "24 / 4 / 8",
        "train.epochs=3",
        "Changed of the paper's recipe: train.epochs=3; more in ours.",
        "the patients are simulated",
    ):
        assert words in text, words


def test_best_is_bold_and_behind_its_own_best_rival_red() -> None:
    rows = [row("identity", 24.0, predictor="identity"), row("a", 26.0), row("b", 27.0), row("c", 23.0)]
    for one, rival in zip(rows[1:], (25.0, 24.0, 22.0), strict=True):
        one["cells"]["PSNR"] |= {"rival": "table_mean", "rival_mean": rival}
    assert [r[1].tone for r in measured_table(read(table("t", *rows))).rows] == ["", "", "best", ""]
    rows[2]["cells"]["PSNR"]["rival_mean"] = 27.5
    made = measured_table(read(table("t", *rows)))
    assert [r[1].tone for r in made.rows] == ["", "", "bad", ""]
    assert made.rows[2][1].below == ("voxel table, mean 27.50",)
    assert made.columns == ("", "PSNR ↑ (n = 8)")


def test_a_name_with_signs_of_addresses_is_a_link_that_leads_there(tmp_path: Path) -> None:
    one = item("50% #1")
    (tmp_path / one["folder"]).mkdir(parents=True)
    (tmp_path / one["folder"] / "report.html").write_text("")
    assert runs_table([ItemEntry.model_validate(one)], tmp_path).rows[0][0].link == "runs/50%25%20%231/report.html"


def test_rows_that_make_different_images_are_not_ranked() -> None:
    other = row("b", 23.0) | {"target": "adc"}
    rows = (row("identity", 24.0, predictor="identity"), row("a", 26.0), other)
    assert {r[1].tone for r in measured_table(read(table("t", *rows))).rows} == {""}


def test_a_cell_with_other_patients_and_seeds_says_so() -> None:
    other = row("b", 27.0)
    other["cells"]["PSNR"] |= {"n": 7, "seeds": 3, "seed_sd": 0.04}
    made = measured_table(read(table("t", row("a", 26.0), other)))
    assert made.rows[0][1].below == ()
    assert made.rows[1][1].below == ("n = 7", "over 3 seeds ± 0.04")


def test_a_test_without_p_gives_its_reason_and_another_sign_is_red() -> None:
    test = {"a": "a", "b": "b", "column": "PSNR", "test": "paired t", "n": 1, "p": None, "mean_difference": -0.2}
    test |= {"reason": "1 patients: a test needs 2", "published_difference": 0.4, "published_p": None}
    made = comparisons_table(read(table("t", row("a", 26.0), tests=[test])))
    assert made is not None
    _, _, _, measured, p, paper, _ = made.rows[0]
    assert (measured.text, measured.tone) == ("−0.20", "bad") or measured.text.startswith("−0.2")
    assert p.text == "–"
    assert p.below == ("1 patients: a test needs 2",)
    assert paper.text == "+0.400"
    assert comparisons_table(read(table("t", row("a", 26.0)))) is None


def test_the_curve_is_a_file_too(study: Path) -> None:
    build_study(study)
    assert (study / "figures" / "fig7.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("broken", ["study.json", "tables/one.json", "figures/figures.json", "figures/fig4.png"])
def test_a_missing_or_broken_file_is_named(study: Path, broken: str) -> None:
    path = study / broken
    if broken.endswith(".png"):
        path.unlink()
    else:
        path.write_text("[" if "figures" in broken else "[]")
    with pytest.raises(InputError, match=path.name):
        build_study(study)


def test_a_study_of_another_version_is_refused(study: Path) -> None:
    record = json.loads((study / "study.json").read_text())
    del record["items"]
    (study / "study.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="items"):
        build_study(study)


def test_an_unfinished_study_without_pictures_has_a_page(study: Path) -> None:
    (study / "figures" / "figures.json").unlink()
    assert 'id="pictures"' not in build_study(study).read_text(encoding="utf-8")
