from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.core.errors import CohortError, InputError
from mrsynth.index.find import index_folder
from mrsynth.io import CaseRow, Cohort, read_cohort, split_patients, write_cohort
from nifti_factory import brats, save

FRACTIONS = st.tuples(*[st.floats(0.05, 1)] * 3)


@given(n=st.integers(1, 60), fractions=FRACTIONS, seed=st.integers(0, 9))
def test_split_laws(n: int, fractions: tuple[float, float, float], seed: int) -> None:
    patients = [f"p{i}" for i in range(n)]
    splits = split_patients(patients, fractions, seed)
    assert splits == split_patients(patients[::-1] + patients, fractions, seed)
    counts = Counter(splits.values())
    assert sum(counts.values()) == n
    if n >= 3:
        assert set(counts) == {"train", "val", "test"}
    if n >= 30 and min(fractions) / sum(fractions) > 0.1:
        for split, share in zip(("train", "val", "test"), fractions, strict=True):
            assert abs(counts[split] - share / sum(fractions) * n) < 1


def test_split_is_drawn() -> None:
    patients = [str(i) for i in range(30)]
    assert split_patients(patients, seed=0) != split_patients(patients, seed=1)
    assert Counter(split_patients(patients).values()) == {"train": 19, "val": 5, "test": 6}
    assert split_patients(patients, (1, 0, 0)) == dict.fromkeys(patients, "train")
    with pytest.raises(CohortError, match="three shares"):
        split_patients(patients, (1, -1, 0))


def test_index_write_read(tmp_path: Path) -> None:
    brats(tmp_path / "data", [f"BraTS-GLI-0000{i}-00{j}" for i in range(4) for j in range(2)], ("t1n", "t2w"))
    cohort = index_folder(tmp_path / "data", seed=3)
    assert cohort.leaking_patients() == {}
    assert cohort.contrasts == ("t1", "t2")
    write_cohort(cohort, tmp_path / "cohort.csv")
    assert read_cohort(tmp_path / "cohort.csv").rows == cohort.rows
    text = (tmp_path / "cohort.csv").read_text()
    assert text.splitlines()[0] == "patient,case,split,b0_tesla,dose,t1,t2"
    assert str(tmp_path) not in text
    write_cohort(cohort, tmp_path / "elsewhere" / "cohort.csv")
    assert read_cohort(tmp_path / "elsewhere" / "cohort.csv").rows == cohort.rows
    assert str(tmp_path) in (tmp_path / "elsewhere" / "cohort.csv").read_text()


def test_index_takes_what_case_files_say(tmp_path: Path) -> None:
    for i, split in enumerate(["test", "train"]):
        save(tmp_path / f"c{i}" / "t1ld.nii.gz")
        content = {"patient": f"00{i}", "case": f"c{i}", "split": split, "b0_tesla": 1.5, "dose": 0.0}
        (tmp_path / f"c{i}" / "case.json").write_text(json.dumps(content))
    rows = index_folder(tmp_path).rows
    assert [(r.patient, r.split, r.b0_tesla, r.dose) for r in rows] == [
        ("000", "test", 1.5, 0),
        ("001", "train", 1.5, 0),
    ]


def test_same_name_in_two_case_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / name / "t1.nii.gz")
        (tmp_path / name / "case.json").write_text('{"patient": "p", "case": "same"}')
    assert [r.case for r in index_folder(tmp_path).rows] == ["a-same", "b-same"]


def test_table_by_hand(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(
        "\ufeffCase;T1w;t2W;GOLD_STANDARD;Scanner;b0_tesla;dose\n007;a.nii.gz;/abs/b.nii;;Prisma;3;\n\n008;c.nii.gz;;l.nii;;;0.1\n",
        encoding="utf-8",
    )
    first, second = read_cohort(tmp_path / "c.csv").rows
    assert (first.patient, first.case, first.b0_tesla, first.dose) == ("007", "007", 3.0, None)
    assert first.files == {"t1": tmp_path / "a.nii.gz", "t2": Path("/abs/b.nii")}
    assert first.metadata == {"Scanner": "Prisma"}
    assert list(second.files) == ["t1", "lesion"]
    assert second.dose == 0.1
    assert {first.split, second.split} <= {"train", "val", "test"}


def test_other_columns_survive(tmp_path: Path) -> None:
    row = CaseRow(
        'p, "quoted"\n2', "c, 2", "train", {"t1": tmp_path / "ä b.nii"}, metadata={"site": "07", "note": "a,b"}
    )
    write_cohort(Cohort((row,)), tmp_path / "c.csv")
    assert read_cohort(tmp_path / "c.csv").rows == (row,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty"),
        ("case,t1\n", "the table is empty"),
        ("name,path\na,b\n", "at least one contrast"),
        ("t1,t2\na,b\n", "`case` or `patient`"),
        ("case,t1,T1w\na,b,c\n", "two columns mean t1"),
        ("case,t1\na,b,c\n", "line 2.*\n.*3 cells"),
        ("case,t1\n,b\n", "line 2.*no name"),
        ("case,t1\na,b\na,c\n", "more than one row"),
        ('case,t1\na,b\n"a\nb",c\n', r"'a\\nb' cannot name a case"),
        ("case,t1\n../a,b\n", "cannot name a case"),
        (f"case,t1\n{'a' * 300},b\n", "cannot name a case"),
        ("case,split,t1\na,train,x\nb,,y\n", "some rows have no split"),
        ("case,split,t1\na,trian,x\n", "line 2: unknown split"),
        ("patient,case,split,t1\np,a,train,x\np,b,test,y\n", "p in test and train"),
        ("case,b0_tesla,t1\na,three,x\n", "'three'"),
        ("case,b0_tesla,t1\na,nan,x\n", "b0_tesla"),
        ("case,dose,t1\na,10,x\n", "0 to 1"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(CohortError, match=message) as caught:
        read_cohort(tmp_path / "c.csv")
    assert "c.csv" in caught.value.what


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_cohort(tmp_path / "c.csv")
    with pytest.raises(InputError, match="a folder"):
        read_cohort(tmp_path)
    for name, content in (("x", b"\x1f\x8b\xff\x00"), ("y", b'case,t1\n"a,b\n')):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="not a cohort table"):
            read_cohort(tmp_path / name)


@given(st.text(max_size=60))
def test_any_text_is_a_table_or_an_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text("case,t1\n" + text, encoding="utf-8", errors="replace")
    with suppress(CohortError, InputError):
        assert read_cohort(path).rows


def test_split_spellings_and_unsound_tables(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("patient,case,split,t1\np,a,Training,x\np,a,validation,y\n")
    cohort = read_cohort(tmp_path / "c.csv", allow_unsound=True)
    assert [row.split for row in cohort.rows] == ["train", "val"]
    assert cohort.duplicate_cases() == ["a"]
    assert cohort.leaking_patients() == {"p": ["train", "val"]}


def test_a_decimal_comma_is_told_how_to_write_it(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("case;t1;b0_tesla\na;a.nii.gz;1,5\n")
    with pytest.raises(CohortError, match=r"(?s)b0_tesla is not usable.*write 1\.5"):
        read_cohort(tmp_path / "c.csv")


def test_names_that_no_file_can_have_and_workbooks_of_a_later_zip_are_sentences(
    tmp_path: Path,
) -> None:
    """Found by 20 000 damaged tables."""
    (tmp_path / "cohort.csv").write_text("patient,case,t1\nP1,P1,a\\" + "b" * 5000 + "\n")
    (row,) = read_cohort(tmp_path / "cohort.csv").rows
    assert row.files["t1"].name == "b" * 5000 or "\\" in row.files["t1"].name
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a", "b")
    later = packed.getvalue().replace(b"PK\x01\x02\x14\x03\x14", b"PK\x01\x02\x14\x03\x54")
    (tmp_path / "cohort.xlsx").write_bytes(later)
    with pytest.raises(InputError, match="workbook that cannot be read"):
        read_cohort(tmp_path / "cohort.xlsx")
