from __future__ import annotations

import pytest

from mrsynth.core.errors import InputError, RecipeError
from mrsynth.core.seeds import derive_seed, generator
from mrsynth.core.settings import Settings, parse
from mrsynth.core.types import contrast_name, image_name


class Inner(Settings):
    epochs: int


class Outer(Settings):
    train: Inner


def test_unknown_keys_name_the_nearest_valid_one():
    with pytest.raises(RecipeError, match=r"unknown key 'train.epoch'[\s\S]*did you mean 'epochs'"):
        parse(Outer, {"train": {"epochs": 1, "epoch": 2}}, "recipe x")


def test_wrong_values_say_what_was_found():
    with pytest.raises(RecipeError, match=r"train.epochs[\s\S]*'many'"):
        parse(Outer, {"train": {"epochs": "many"}}, "recipe x")
    with pytest.raises(RecipeError, match="required"):
        parse(Outer, {}, "recipe x")


def test_spellings_of_public_data_sets():
    for spelling, name in {"t1n": "t1", "t2W": "t2", "T1POST": "t1ce", "fla": "flair", "t2f": "flair"}.items():
        assert contrast_name(spelling) == name
    assert image_name("seg") == "lesion"
    assert image_name("notes") is None
    assert image_name("dwi_b٣") is None  # a digit, but not one of ours
    with pytest.raises(InputError, match="did you mean 'flair'"):
        contrast_name("flare")


def test_seeds_depend_on_every_word_and_on_nothing_else():
    assert derive_seed(1, "a", "b") == derive_seed(1, "a", "b")
    assert (
        len({derive_seed(1, "a", "b"), derive_seed(1, "ab"), derive_seed(2, "a", "b"), derive_seed(1, "b", "a")}) == 4
    )
    assert generator(3, "noise").random() == generator(3, "noise").random()
