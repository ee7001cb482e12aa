"""YAML of people and strangers: what is meant is read, all else is a sentence that says where."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import mrsynth
from mrsynth.core.errors import ModelError, RecipeError
from mrsynth.core.yaml import MAX_BYTES, parse_yaml, read_yaml

LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(12))


@pytest.mark.parametrize("path", sorted(Path(mrsynth.__file__).parent.rglob("*.yaml")), ids=lambda p: p.stem)
def test_our_own_files_mean_what_pyyaml_says(path: Path):
    assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\nb: [", "line 2"),
        ("1" * 5000, "4300 digits"),
        ("0x" + "f" * 99, "an integer beyond 2^63"),
        ("!!timestamp x", "not of the kind that its tag says"),
        ("!!int x", "invalid literal"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: 1\na: 2", "line 2: 'a' stands there twice"),
        ("&a [*a]", "holds itself"),
        (LAUGHS, "more than 50000 values"),
        ("[" * 100_000, "values within values"),
        ("[" * 50 + "]" * 50, "values within values"),
        ("x" * (MAX_BYTES + 1), "characters, more than"),
        ("? [1, 2]\n: 3", "unhashable"),
        ("!!set {a}", "kind set"),
        ("!!binary aaaa", "kind bytes"),
        (".nan", "a number that is nan"),
        ("[-.inf]", "a number that is -inf"),
        ("--- 1\n--- 2", "another document"),
        ("a\0", "not allowed"),
    ],
)
def test_what_no_setting_can_be_is_a_sentence(text: str, found: str):
    with pytest.raises(ModelError, match=r"^x is not YAML\.") as refused:
        parse_yaml(text, "x", ModelError)
    assert found in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_date_is_a_text():
    assert parse_yaml("[2020-13-45, 2020-01-02, 2001-12-14t21:59:43.10-05:00]", "x") == [
        "2020-13-45",
        "2020-01-02",
        "2001-12-14t21:59:43.10-05:00",
    ]


@given(st.text() | st.text(alphabet="[]{}:,&*!-? \n01e.x'\"|>#%@"))
def test_any_text_is_a_plain_value_or_a_sentence(text: str):
    try:
        value = parse_yaml(text, "x")
    except RecipeError:
        return
    assert isinstance(value, dict | list | str | int | float | None)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: \xe4"])
def test_a_file_that_is_no_text_is_told(tmp_path: Path, content: bytes):
    (tmp_path / "r.yaml").write_bytes(content)
    with pytest.raises(RecipeError, match=r"r\.yaml is not YAML"):
        read_yaml(tmp_path / "r.yaml")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(RecipeError, match="cannot be read"):
            read_yaml(path)
