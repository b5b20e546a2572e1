import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fedpers import comparison
from fedpers.report.progress import Reporter
from fedpers.simulation import Outcome, Setup, simulate
from fedpers.simulation.desk import Desk
from tests.conftest import Run

QUICK = tuple(
    "--clients 4 --public-people 6 --held-out-people 2 --rounds 2 --clients-per-round 2 --eval-every 1 "
    "--base-epochs 1 --workers 0 --hidden-size 16 --heads 2 --set synthetic.samples_per_person=12".split()
)


def rows(path: Path, people: int = 4, samples: int = 5) -> Path:
    lines = [
        json.dumps({"user_id": f"p{p}", "text": f"text {p} {s}", "label": s % 2, "when": s})
        for p in range(people)
        for s in range(samples)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_simulate_prints_one_json_object_and_nothing_else(run: Run) -> None:
    status, out, _ = run("simulate", "--json", *QUICK)
    result = json.loads(out)
    promised = {
        "method", "clients", "rounds", "accuracy", "accuracy_std", "ceiling_without_person",
        "ceiling_with_person", "seconds", "run",
    }  # fmt: skip
    assert status == 0
    assert promised <= result.keys()
    assert (result["method"], result["clients"], result["rounds"]) == ("user-identifier", 4, 2)
    assert 0.5 <= result["ceiling_without_person"] <= result["ceiling_with_person"] <= 1


@pytest.mark.parametrize("flags", [("--json",), ()], ids=["json", "table"])
def test_what_a_library_prints_meanwhile_goes_to_standard_error(
    flags: tuple[str, ...], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, line = Desk.judge, "(raylet) A worker died"

    def judged(desk: Desk) -> Outcome:
        talk = threading.Thread(target=print, args=[line])  # as Ray does when a process dies
        talk.start()
        talk.join()
        return judge(desk)

    monkeypatch.setattr(Desk, "judge", judged)
    status, out, err = run("simulate", *flags, *QUICK)
    assert (status, line in out, line in err) == (0, False, True)
    assert "accuracy" in out
    if flags:
        assert json.loads(out)["rounds"] == 2


def test_a_run_folder_explains_itself_and_its_model_loads_with_transformers(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("simulate", "--json", "--out", "here", *QUICK)
    folder = tmp_path / "here"
    settings = json.loads((folder / "settings.json").read_text())
    history = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert status == 0
    assert settings["federation"]["rounds"] == 2
    assert json.loads((folder / "versions.json").read_text())["torch"]
    assert [record["step"] for record in history] == [0, 1, 2]
    assert json.loads((folder / "result.json").read_text()) == json.loads(out)
    assert (folder / "people.parquet").exists()
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    weights = load_file(folder / "model" / "model.safetensors")
    assert (model.classifier.weight.detach().numpy() == weights["classifier.weight"]).all()
    assert len(tokenizer) == model.config.vocab_size


def test_the_same_seed_gives_the_same_weights_in_two_runs(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run("simulate", "--json", "--out", name, *QUICK)
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert all((one[key] == two[key]).all() for key in one)


def test_another_seed_gives_other_weights(run: Run, tmp_path: Path) -> None:
    for seed in ("0", "1"):
        run("simulate", "--json", "--out", seed, "--seed", seed, *QUICK)
    one, two = (load_file(tmp_path / seed / "model" / "model.safetensors") for seed in ("0", "1"))
    assert (one["classifier.weight"] != two["classifier.weight"]).any()


def test_compare_has_a_cell_for_each_method_and_setting(run: Run) -> None:
    status, out, _ = run("compare", "--json", "--seeds", "0,1", *QUICK)
    result = json.loads(out)
    cells = {(cell["method"], cell["setting"]): cell for cell in result["cells"]}
    assert status == 0
    assert set(cells) == {
        (method, setting)
        for method in ("conventional", "user-identifier")
        for setting in ("central", "federated")
    }
    for cell in cells.values():
        assert cell["low"] <= cell["accuracy"] <= cell["high"]
        assert cell["seeds"] == [0, 1]


def test_compare_leaves_out_what_somebody_stopped_and_ends_with_status_1(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Outcome] = []

    def stopped(setup: Setup, report: Reporter) -> Outcome:
        outcomes.append(simulate(setup, report))
        return replace(outcomes[-1], interrupted=len(outcomes) == 3)

    monkeypatch.setattr(comparison, "simulate", stopped)
    status, out, err = run("compare", "--json", "--seeds", "0,1", *QUICK)
    result = json.loads(out)
    assert (status, result["interrupted"]) == (1, True)
    assert len(outcomes) == 3
    assert {tuple(cell["seeds"]) for cell in result["cells"]} == {(0,)}
    assert "stopped: comparing what was finished" in err


def test_compare_goes_through_as_many_samples_centrally_as_federated(run: Run) -> None:
    # 4 people with 10 training texts each; 8 rounds of 2 people are 160 samples, 4 epochs of the pool.
    _, out, _ = run("compare", "--json", "--seeds", "0", *QUICK, "--rounds", "8", "--eval-every", "8")
    assert {cell["samples"] for cell in json.loads(out)["cells"]} == {160}


def test_tables_fit_80_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in (("simulate",), ("compare", "--seeds", "0"), ("data", "describe", "synthetic")):
        quick = QUICK if command[0] != "data" else ()
        status, out, _ = run(*command, *quick)
        assert status == 0
        assert all(len(line) <= 80 for line in out.splitlines())
        assert "…" not in out


def test_describe_prints_people_and_samples_as_json(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("data", "describe", str(rows(tmp_path / "rows.jsonl")), "--json")
    described = json.loads(out)
    assert status == 0
    assert (described["people"], described["samples"]) == (4, 20)


def test_methods_lists_every_method_with_a_line(run: Run) -> None:
    _, out, _ = run("methods")
    assert out.splitlines()[0].startswith("conventional")
    assert any(line.startswith("user-identifier") for line in out.splitlines())


def test_a_methods_line_goes_on_below_itself(run: Run) -> None:
    lines = [line.rstrip() for line in run("methods")[1].splitlines()]
    assert max(map(len, lines)) <= 80
    column = lines[0].index("Conventional:")
    assert all(line[column - 1 : column] == " " and line[column] != " " for line in lines)


def test_a_toml_file_sets_what_flags_do_not(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("[federation]\nrounds = 5\nserver_tau = 0.5\n")
    _, out, _ = run("simulate", "--json", "--config", "run.toml", *QUICK)
    settings = json.loads((tmp_path / json.loads(out)["run"] / "settings.json").read_text())
    assert settings["federation"]["server_tau"] == 0.5
    assert settings["federation"]["rounds"] == 2  # a flag goes before the file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "--method", "user-identifer"], "did you mean 'user-identifier'?"),
        (["simulate", "--strategy", "fedadm"], "did you mean 'fedadam'?"),
        (["simulate", "--set", "federation.round=3"], "did you mean 'federation.rounds'?"),
        (["simulate", "--cliens", "3"], "--cliens"),
        (["simulate", "--clients", "many"], "--clients 'many'"),
        (["simulate", "--clients", "0"], "(nearest: 1)"),
        (["simulate", "--identifier", "token"], "did you mean 'tokens'?"),
        (["simulate", "--identifier-length", "500"], "use at most 125"),
        (["simulate", "--config", "no.toml"], "cannot read no.toml"),
        (["simulate", "--data", "no.jsonl"], "no file or folder no.jsonl"),
        (["simulate", "--model", "no/such/folder/here"], "cannot load the model"),
        (["compare", "--seeds", "0,x"], "--seeds '0,x'"),
        (["compare", "--set", "run.seed=7"], "run.seed is set by --seeds: leave it out"),
        (["compare", "--epsilons", "8", "--set", "run.seed=7"], "run.seed is set by --seeds: leave it out"),
        (["compare", "--methods", "conventional,uid"], "unknown method 'uid'"),
        (["simulate", "--data", "ROWS", "--clients", "9"], "has 4 people"),
        (["simulate", "--data", "ROWS", "--label-column", "lable"], "did you mean 'label'?"),
        (["simulate", "--data", "ROWS", "--split", "time"], "--time-column"),
        (["simulate", "--data", "ROWS"], "--public-people 1 or more"),
        (["nonsense"], "nonsense"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(
    run: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    source = str(rows(tmp_path / "rows.jsonl"))
    given = [source if argument == "ROWS" else argument for argument in arguments]
    extra = [] if given[0] != "simulate" else ["--workers", "0", "--base-epochs", "0", "--rounds", "1"]
    status, out, err = run(*given, *extra)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert status == 2
    assert out == ""
    assert len(errors) == 1
    assert err.splitlines()[-1] == errors[0]
    assert message in errors[0]
    assert "Traceback" not in err


def test_no_command_shows_the_help(run: Run) -> None:
    status, _, err = run()
    assert status == 2
    assert err.startswith("Usage: fedpers")


def test_a_folder_that_holds_a_run_is_never_overwritten(run: Run) -> None:
    run("simulate", "--json", "--out", "here", *QUICK)
    status, _, err = run("simulate", "--json", "--out", "here", *QUICK)
    assert status == 2
    assert "here is not empty, and a run is never overwritten" in err


def test_a_mistake_leaves_no_folder_behind_so_that_the_corrected_command_can_name_it(
    run: Run, tmp_path: Path
) -> None:
    status, _, _ = run("simulate", "--out", "here", *QUICK, "--identifier-length", "500")
    assert status == 2
    assert not (tmp_path / "here").exists()


def test_an_unwritable_run_folder_stops_before_any_work(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = run("simulate", "--out", "file/run", *QUICK)
    assert status == 2
    assert "cannot write to the run's folder file/run" in err
    assert "base epochs" not in err
