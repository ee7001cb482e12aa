from __future__ import annotations

import pytest

from mrsynth.core.progress import CaseProgress, hush, listening, part_of, remark, say, say_step, track, working_on


def test_who_listens_hears_what_is_said_of_the_case_and_nobody_else_does():
    heard: list[tuple[str, str]] = []
    say("before")
    with listening(lambda name, what: heard.append((name, what))), working_on("case-1"):
        say("reading")
    say("after")
    assert heard == [("case-1", "reading")]


def test_parts_of_parts_count_as_steps_of_the_whole():
    heard: list[str] = []
    with listening(lambda _, what: heard.append(what)):
        say_step(1, 2)
        with part_of(10, 20, 40):
            say_step(1, 2)
            with part_of(1, 1, 2):
                say_step(1, 2)
                say_step(2, 2)
        say_step(2, 2)
    assert heard == ["1/2", "20/40", "25/40", "30/40", "2/2"]


@pytest.mark.parametrize("quiet", [True, False])
def test_bars_and_remarks_are_hushed_in_one_place(quiet: bool, capsys: pytest.CaptureFixture[str]):
    hush(quiet)
    remark("training a network")
    assert list(track([1, 2], "work", 2)) == [1, 2]
    with CaseProgress("cases", 1) as bar:
        bar.tell("a", "reading")
        bar.advance("a")
    said = capsys.readouterr().err
    assert ("training a network" in said) != quiet
    assert ("work" in said and "cases" in said) != quiet
