"""Accuracy beside privacy: `fedpers compare --epsilons`, from its trials to its table."""

import json
import math
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fedpers import commands, runs, tradeoff
from fedpers.audit import MembershipSettings, audit_membership
from fedpers.clients import Plain
from fedpers.errors import InputError
from fedpers.method import Device, Shared
from fedpers.report.privacy_tables import tradeoff_table
from fedpers.report.progress import Reporter
from fedpers.tradeoff import Trial, kind_of, parse_epsilons, record
from tests.audit.attacked import BY_HEART
from tests.conftest import Run, small
from tests.test_cli import QUICK

FEW: dict[str, dict[str, Any]] = {
    "federation": {"rounds": 2, "eval_every": 2, "clients_per_round": 4},
    "idfree": {"fit_epochs": 4, "fit_lr": 0.3, "noise": 1e-3, "cloud_epochs": 1},
}


def traded(
    folder: Path, methods: str, epsilons: str = "inf,1", report: Reporter | None = None, **sections: Any
) -> dict[str, Any]:
    settings = small(**{**FEW, **sections})
    return commands.compare_epsilons(
        settings, methods, epsilons, "0", folder, report or Reporter(silent=True)
    )


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("result.json")}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traded") / "out"
    traded(folder, "conventional,idfree")
    return folder


def test_every_method_has_a_row_for_each_epsilon_with_what_its_runs_say(both: Path) -> None:
    result = runs.result_of(both)
    named = [(row["method"], row["asked"], row["dp"]) for row in result["rows"]]
    assert named == [
        ("conventional", None, "none"),
        ("conventional", 1.0, "user"),
        ("idfree", None, "none"),
        ("idfree", 1.0, "local"),
    ]
    for row, trial in zip(result["rows"], result["trials"], strict=True):
        place = both / "trials" / f"{row['method']}-{row['asked'] or math.inf:g}-seed-0"
        of_run = runs.result_of(place)
        attacked = audit_membership(place, MembershipSettings(), Reporter(silent=True))
        [calibrated] = [own for own in attacked["rows"] if own["attack"] == "loss, less the base's"]
        assert row["accuracy"] == trial["accuracy"] == of_run["accuracy"]
        assert row["lowest_decile"] == of_run["person_deciles"][0]
        assert row["text"] == [calibrated["auc"], calibrated["low"], calibrated["high"]]
        assert row["epsilon"] == (of_run["privacy"] or {}).get("epsilon")


def test_epsilon_is_spent_as_asked_and_bounds_the_attack(both: Path) -> None:
    for row in runs.result_of(both)["rows"]:
        if row["dp"] == "user":
            assert row["epsilon"] == pytest.approx(1, rel=1e-2)
            assert row["epsilon"] <= 1
            assert 0.5 < row["permitted"] < 1
        else:
            assert row["permitted"] is None


def test_misattribution_stands_where_there_are_uploads_and_grows_with_privacy(both: Path) -> None:
    rows = runs.result_of(both)["rows"]
    assert [row["misattribution"] is None for row in rows] == [True, True, False, False]
    assert rows[3]["misattribution"] >= rows[2]["misattribution"]


def test_finished_trials_are_found_again(both: Path) -> None:
    before, record_before = stamps(both / "trials"), runs.result_of(both)
    assert traded(both, "conventional,idfree")["rows"] == record_before["rows"]
    assert stamps(both / "trials") == before


def test_only_missing_trials_are_run(tmp_path: Path) -> None:
    traded(tmp_path / "out", "conventional", "inf")
    before = stamps(tmp_path / "out" / "trials")
    result = traded(tmp_path / "out", "conventional", "inf,2", engine={"cohort_size": 4})
    assert [row["asked"] for row in result["rows"]] == [None, 2.0]
    assert before.items() <= stamps(tmp_path / "out" / "trials").items()


def test_trials_of_other_settings_are_kept_and_refused(tmp_path: Path) -> None:
    traded(tmp_path / "out", "conventional", "1")
    before = stamps(tmp_path / "out")
    with pytest.raises(InputError, match="run of other settings, which is kept: give another --out"):
        traded(tmp_path / "out", "conventional", "inf,1", local={"local_lr": 0.2})
    assert stamps(tmp_path / "out") == before


class _Stops(Reporter):
    """Is stopped at the start of a trial."""

    def __init__(self, trial: str) -> None:
        super().__init__(silent=True)
        self.trial = trial

    def say(self, text: str) -> None:
        if text.startswith(self.trial):
            raise KeyboardInterrupt


def test_what_was_finished_when_somebody_stopped_stands_and_the_rest_follows(tmp_path: Path) -> None:
    stopped = traded(tmp_path / "out", "conventional", "2,1", _Stops("2/2"))
    assert (stopped["interrupted"], [row["asked"] for row in stopped["rows"]]) == (True, [2.0])
    whole = traded(tmp_path / "out", "conventional", "2,1")
    assert (whole["interrupted"], [row["asked"] for row in whole["rows"]]) == (False, [2.0, 1.0])
    assert whole["rows"][0] == stopped["rows"][0]


def test_a_trial_that_was_cut_off_goes_on_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own: dict[str, Any] = {"federation": {"rounds": 6, "eval_every": 6}, "engine": {"checkpoint_every": 2}}
    at_once = traded(tmp_path / "once", "conventional", "1", **own)
    actual = runs.write_history

    def cut_off(*_: Any, **__: Any) -> None:
        raise RuntimeError("the machine went down")

    monkeypatch.setattr(runs, "write_history", cut_off)
    with pytest.raises(RuntimeError, match="went down"):
        traded(tmp_path / "out", "conventional", "1", **own)
    monkeypatch.setattr(runs, "write_history", actual)
    [place] = (tmp_path / "out" / "trials").iterdir()
    assert runs.checkpoints(place).exists()
    assert traded(tmp_path / "out", "conventional", "1", **own)["rows"] == at_once["rows"]


def test_a_trial_that_somebody_stopped_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own: dict[str, Any] = {"federation": {"rounds": 6, "eval_every": 6}, "engine": {"checkpoint_every": 2}}
    at_once = traded(tmp_path / "once", "conventional", "1", **own)
    actual, rounds, told = Plain.train, list[int](), list[str]()

    def watched(client: Plain, shared: Shared, cohort: Sequence[Device]) -> Any:
        if shared.round == 6 and 6 not in rounds:
            rounds.append(6)
            raise KeyboardInterrupt
        rounds.append(shared.round)
        return actual(client, shared, cohort)

    report = Reporter(silent=True)
    monkeypatch.setattr(report, "say", told.append)
    monkeypatch.setattr(Plain, "train", watched)
    with pytest.raises(KeyboardInterrupt):
        traded(tmp_path / "out", "conventional", "1", report, **own)
    assert told[-1] == f"stopped: the same command with --out {tmp_path / 'out'} goes on"
    rounds[:] = [6]
    assert traded(tmp_path / "out", "conventional", "1", **own)["rows"] == at_once["rows"]
    assert min(rounds) == 5


def test_an_attack_on_a_trial_is_not_done_again(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("attacked again")

    before = runs.result_of(both)["rows"]
    monkeypatch.setattr(tradeoff, "audit_membership", never)
    assert traded(both, "conventional,idfree")["rows"] == before


def test_a_run_without_privacy_has_no_budget(tmp_path: Path) -> None:
    rows = traded(tmp_path / "out", "conventional", "8,inf", privacy={"epsilon_budget": 7.0})["rows"]
    assert rows[0]["epsilon"] <= 7
    assert rows[1]["epsilon"] is None


@pytest.mark.parametrize("terms", [{"noise_cohort": 1000}, {"clipping": "adaptive"}])
def test_terms_that_one_of_the_methods_cannot_keep_are_refused_before_any_run(
    terms: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"^idfree: .* it needs --dp user"):
        traded(tmp_path / "out", "conventional,idfree", "8", privacy=terms)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("asked", "message"),
    [("user", "not for idfree: .* give --dp local"), ("local", "not for conventional: .* give --dp user")],
)
def test_what_a_method_does_not_send_is_not_hidden(asked: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        traded(tmp_path / "out", "conventional,idfree", "8", privacy={"dp": asked})
    assert not (tmp_path / "out").exists()


def test_a_method_whose_texts_leave_hides_nothing_by_itself(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="on-device uploads its texts as they are, which no noise hides"):
        traded(tmp_path / "out", "on-device", "8")
    assert not (tmp_path / "out").exists()


def test_noise_besides_epsilons_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave --epsilon and --noise-multiplier out"):
        traded(tmp_path / "out", "conventional", privacy={"dp": "user", "noise_multiplier": 1.0})
    assert not (tmp_path / "out").exists()


def test_terms_that_no_trial_can_keep_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="delta"):
        traded(tmp_path / "out", "conventional", "1", privacy={"delta": 0.5})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("conventional", "user"),
        ("user-identifier", "user"),
        ("perplm-soft", "user"),
        ("idfree", "local"),
        ("local-only", "sample"),
        ("oppu", "sample"),
    ],
)
def test_what_is_hidden_where_nothing_is_asked(method: str, kind: str) -> None:
    assert kind_of(small(), method) == kind
    assert kind_of(small(privacy={"dp": "sample"}), method) == "sample"


def test_what_is_asked_is_hidden(tmp_path: Path) -> None:
    result = traded(tmp_path / "out", "conventional,local-only", "4", privacy={"dp": "sample"})
    assert [(row["method"], row["dp"]) for row in result["rows"]] == [
        ("conventional", "sample"),
        ("local-only", "sample"),
    ]


@pytest.mark.parametrize("text", ["", "8,", "inf,x", "0", "-1", "nan", "2,2.0", "inf,inf"])
def test_a_list_that_names_no_epsilons_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"give different numbers above 0, or inf"):
        parse_epsilons(text)


def trial(seed: int, **changed: Any) -> Trial:
    given = {
        "method": "idfree", "asked": 2.0, "seed": seed, "dp": "local", "epsilon": 2.0,
        "noise_multiplier": 3.0, "noised_as": None, "accuracy": 0.6, "lowest_decile": 0.2,
        "text": (0.5, 0.4, 0.6), "person": None, "permitted": None,
        "misattribution": 0.9,
    }  # fmt: skip
    return Trial(**{**given, **changed})


def test_a_row_is_the_mean_over_its_seeds() -> None:
    [row] = record(
        [trial(0), trial(1, accuracy=0.8, text=(0.7, 0.6, 0.8), lowest_decile=0.4, misattribution=0.7)]
    )["rows"]
    assert row["seeds"] == [0, 1]
    assert row["accuracy"] == pytest.approx(0.7)
    assert row["spread"] == pytest.approx(0.1)
    assert row["text"] == pytest.approx([0.6, 0.5, 0.7])
    assert row["person"] is None
    assert row["lowest_decile"] == pytest.approx(0.3)
    assert row["misattribution"] == pytest.approx(0.8)


def test_the_command_prints_a_table_that_a_terminal_holds(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    given = ("compare", "--epsilons", "inf,1", "--methods", "user-embeddings", "--seeds", "0,1", *QUICK)
    status, out, _ = run(*given, "--out", "here")
    assert status == 0
    lines = [line.rstrip() for line in out.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[0] == "Privacy and accuracy, seeds 0, 1"
    assert lines[1].split("  ")[0].strip() == "method"
    rows = [line.split() for line in lines[2:4]]
    assert [row[0] for row in rows] == ["user-embeddings"] * 2
    assert rows[0][1] == "inf"
    assert float(rows[1][1]) == pytest.approx(1, rel=1e-2)
    assert "…" not in out
    status, out, _ = run(*given, "--out", "here", "--json")
    assert json.loads(out) == runs.result_of(tmp_path / "here")


def test_bad_epsilons_end_with_status_2_and_no_folder(run: Run, tmp_path: Path) -> None:
    status, _, error = run("compare", "--epsilons", "0", *QUICK, "--out", "here")
    assert status == 2
    assert "--epsilons '0'" in error
    assert not (tmp_path / "here").exists()


def test_an_infinite_epsilon_is_written_as_none() -> None:
    assert record([trial(0, asked=math.inf)])["trials"][0]["asked"] is None
    assert record([trial(0, asked=math.inf)])["rows"][0]["asked"] is None


def test_an_attack_that_works_without_privacy_keeps_to_what_epsilon_permits(tmp_path: Path) -> None:
    result = traded(tmp_path / "out", "conventional", "inf,1", None, **BY_HEART)
    plain, private = result["rows"]
    assert plain["person"][1] > 0.6
    assert plain["text"][1] > 0.5
    assert private["person"][1] <= private["permitted"] < plain["person"][0]
    assert private["text"][1] <= private["permitted"]


def test_a_simulated_federation_is_named_and_bounds_nothing_here(tmp_path: Path) -> None:
    result = traded(tmp_path / "out", "conventional", "2", privacy={"noise_cohort": 400})
    [row] = result["rows"]
    assert (row["noised_as"], row["permitted"]) == (400, None)
    console = Console(width=80, record=True, file=StringIO())
    console.print(tradeoff_table(result))
    assert "Simulated: epsilon is that of a federation of 400 devices in a round." in console.export_text()
