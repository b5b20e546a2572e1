from pathlib import Path

import pytest

from fedpers.errors import InputError
from fedpers.study.description import find_study, studies
from fedpers.study.grid import cells_of
from tests.study.worlds import SMALL, study_of

SHIPPED = studies()


def refused(folder: Path, old: str, new: str) -> str:
    with pytest.raises(InputError) as error:
        cells_of(study_of(folder, SMALL.replace(old, new)))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_cell_of_a_shipped_study_has_valid_settings(name: str) -> None:
    study = SHIPPED[name]
    assert len(study.about.split()) > 10
    assert "arXiv" in study.about
    for cell in cells_of(study):
        assert cell.where != "central" or cell.settings.central.central_epochs


def test_a_study_is_found_by_its_name_or_its_path(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    assert find_study(str(tmp_path / "small.toml")) == ("small", study)
    assert find_study("identifier-kinds")[0] == "identifier-kinds"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("identifer-length", "unknown study 'identifer-length': did you mean 'identifier-length'?"),
        ("./no.toml", "cannot read no.toml: No such file or directory"),
    ],
)
def test_a_study_that_is_not_there_is_one_line(name: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        find_study(name)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title =", "titel =", "unknown entry 'titel': did you mean 'title'?"),
        ("title =", "title = 3 #", "title: input should be a valid string"),
        ("seeds = [0]", "seeds = []", "seeds: tuple should have at least 1 item"),
        ("where =", "where = 'here' #", "where: input should be 'central' or 'federated'"),
        ("source =", "sorce =", "unknown entry 'published.Paper.sorce'"),
        ("[gains.gain]", "[gains]", "gains.baseline.kind"),
        ('kind = "none" }\nsettings', "kind = 3 }\nsettings", "cells[1].labels.kind: input should be"),
        ("[published.Paper]", "[plot]\nkind = 'line'\n[published.Paper]", "plot.kind: input should be"),
    ],
)
def test_a_broken_file_is_one_line_that_names_it_and_the_entry(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    told = refused(tmp_path, old, new)
    assert told.startswith(str(tmp_path / "small.toml"))
    assert message in told


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clients = 4", "client = 4", "did you mean 'data.clients'?"),
        ('"digits"', '"digit"', "cell digits 2: --identifier 'digit'"),
        ('"conventional"', '"conventinal"', "cell none: unknown method 'conventinal'"),
        ("baseline = { kind", "baseline = { kid", "unknown axis of gains.gain 'kid': did you mean 'kind'?"),
        ('baseline = { kind = "none"', 'baseline = { kind = "non"', "unknown label of gains.gain 'non'"),
        ("baseline =", 'of = "macro_f1"\nbaseline =', "unknown measure to compare by 'macro_f1'"),
        ("baseline =", 'over = "other.accuracy"\nbaseline =', "unknown set of scores 'other'"),
        ("tokens = { 2 = 0.5", "token = { 2 = 0.5", "published.Paper 'token': did you mean 'tokens'?"),
        ("2 = 0.5", "2 = 'half'", "published.Paper.tokens.2 'half': give a number"),
        ("[published.Paper]", "[measures]\na = 'acuracy'\n[published.Paper]", "did you mean 'accuracy'?"),
        ("[published.Paper]", "[plot]\nkind = 'lines'\nx = 'kind'\n[published.Paper]", "labels are numbers"),
        ("[published.Paper]", "[plot]\nkind = 'lines'\nx = 'lenght'\n[published.Paper]", "mean 'length'?"),
    ],
)  # fmt: skip
def test_what_is_described_must_be_there(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert message in refused(tmp_path, old, new)
