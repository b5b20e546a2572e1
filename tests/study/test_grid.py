from pathlib import Path

import pytest

from fedpers.errors import InputError
from fedpers.settings import parse_assignment
from fedpers.study.grid import Cell, Task, baseline_of, cells_of
from tests.study.worlds import SMALL, study_of


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    return cells_of(study_of(tmp_path))


def test_cells_are_those_of_their_own_and_the_product_of_the_axes(cells: list[Cell]) -> None:
    assert [cell.name for cell in cells] == ["none", "digits 2", "digits 5", "tokens 2", "tokens 5"]
    assert dict(cells[0].labels) == {"kind": "none", "length": "-"}
    assert [cell.settings.run.method for cell in cells[:2]] == ["conventional", "user-identifier"]
    own = cells[4].settings.own["user_identifier"]
    assert own.model_dump() == {"identifier": "tokens", "identifier_length": 5}


def test_cells_of_the_product_can_be_left_out(tmp_path: Path) -> None:
    text = SMALL.replace("[gains.gain]", '[[left_out]]\nkind = "digits"\nlength = "5"\n\n[gains.gain]')
    assert [cell.name for cell in cells_of(study_of(tmp_path, text))] == [
        "none", "digits 2", "tokens 2", "tokens 5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('kid = "digits"', "unknown axis to leave out of 'kid': did you mean 'kind'?"),
        ('kind = "digit"', "unknown value of kind to leave out 'digit': did you mean 'digits'?"),
    ],
)
def test_what_is_not_there_cannot_be_left_out(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        cells_of(study_of(tmp_path, SMALL.replace("[gains.gain]", f"[[left_out]]\n{entry}\n\n[gains.gain]")))
    assert message in str(error.value)


def test_a_cell_trains_where_its_axis_says(tmp_path: Path) -> None:
    text = SMALL.replace(
        "[gains.gain]", '[axes.at]\na = { where = "central" }\nb = { where = "federated" }\n[gains.gain]'
    )
    assert {cell.name: cell.where for cell in cells_of(study_of(tmp_path, text))}["digits 2 b"] == "federated"


def test_given_settings_go_before_the_files_common_ones(tmp_path: Path) -> None:
    found = cells_of(study_of(tmp_path), [parse_assignment("data.clients=3")])
    assert {cell.settings.data.clients for cell in found} == {3}
    assert {cell.settings.data.public_people for cell in found} == {6}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("user_identifier.identifier=name", "user_identifier.identifier is set by the study's kind"),
        ("engine.workers=2", "engine.workers is set by --jobs: leave it out"),
        ("engine.keep_rounds=1", "engine.keep_rounds is of runs with a folder of their own: leave it out"),
        ("engine.keep_states=true", "engine.keep_states is of runs with a folder of their own: leave it out"),
        ("run.seed=2", "run.seed is set by --seeds, or seeds = [...] in the study's file: leave it out"),
        ("data.client=2", "unknown setting 'data.client': did you mean 'data.clients'?"),
    ],
)  # fmt: skip
def test_given_settings_never_make_cells_alike(tmp_path: Path, given: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        cells_of(study_of(tmp_path), [parse_assignment(given)])
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[axes.length]",
            "[axes.seed]\na = { run.seed = 1 }\nb = { run.seed = 2 }\n[axes.length]",
            "cell digits a 2: run.seed is set by --seeds, or seeds = [...] in the study's file: leave it out",
        ),
        ('run.method = "conv', 'run.seed = 3, run.method = "conv', "cell none: run.seed is set by --seeds"),
        ("[settings]", "[settings]\nrun = { seed = 3 }", "cell none: run.seed is set by --seeds"),
        ("{ cohort_size", "{ workers = 2, cohort_size", "cell none: engine.workers is set by --jobs: leave"),
    ],
    ids=["axis", "cell", "settings", "workers"],
)  # fmt: skip
def test_a_file_never_sets_what_its_study_decides(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises(InputError) as error:
        cells_of(study_of(tmp_path, SMALL.replace(old, new)))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "plot.lines is missing: the axis that tells the lines apart, such as 'kind'"),
        ('lines = "at"', "plot.lines 'at': cells on one line differ by 'kind' too; leave the plot out"),
    ],
)
def test_cells_at_the_same_place_are_on_different_lines(tmp_path: Path, lines: str, message: str) -> None:
    axis = '[axes.at]\na = { where = "central" }\nb = { where = "federated" }\n' if lines else ""
    text = SMALL.replace("[gains.gain]", f'{axis}[plot]\nkind = "lines"\nx = "length"\n{lines}\n[gains.gain]')
    with pytest.raises(InputError) as error:
        cells_of(study_of(tmp_path, text))
    assert str(error.value) == message


def test_an_axis_that_only_level_lines_have_labels_on_needs_no_line(tmp_path: Path) -> None:
    text = SMALL.replace('tokens = { user_identifier.identifier = "tokens" }\n', "")
    text = text.replace("figures = { none = 0.25, tokens", "figures = { none = 0.25, digits")
    text = text.replace("[gains.gain]", '[plot]\nkind = "lines"\nx = "length"\n[gains.gain]')
    names = [cell.name for cell in cells_of(study_of(tmp_path, text))]
    assert names == ["none", "digits 2", "digits 5"]


def test_a_baseline_differs_by_its_labels_or_has_no_others(cells: list[Cell]) -> None:
    none, digits_2, _, tokens_2, _ = cells
    assert baseline_of(tokens_2, {"kind": "digits"}, cells) is digits_2
    assert baseline_of(tokens_2, {"kind": "none"}, cells) is none
    assert baseline_of(none, {"kind": "none"}, cells) is None
    assert baseline_of(tokens_2, {}, cells) is tokens_2


def test_a_run_is_told_by_what_can_change_its_result(tmp_path: Path) -> None:
    study = study_of(tmp_path)

    def digest(seed: int, *given: str) -> str:
        return Task(cells_of(study, [parse_assignment(text) for text in given])[0], seed).digest

    assert digest(0) == digest(0, "engine.checkpoint_every=7")
    assert len({digest(0), digest(1), digest(0, "data.clients=3"), digest(0, "engine.threads=2")}) == 4
