"""PerPLM's hard prompts as a method: its settings, what it adds to the model, and what it refuses."""

from pathlib import Path

import pytest

from fedpers.clients import HardPrompts, Plain
from fedpers.experiments import find
from fedpers.models import ContextSegments, FrozenFeatures, MaskedHead, Masking
from fedpers.report.progress import Reporter
from fedpers.simulation import prepare, simulate
from tests.conftest import Run, small
from tests.models.test_loading import gpt2

ALONE = {"intermediate": "none"}  # no stage before the task


def client_of(**own: object) -> HardPrompts:
    found = find("perplm-hard").build(small(perplm_hard=own)).client
    assert isinstance(found, HardPrompts)
    return found


def test_the_settings_reach_the_client() -> None:
    found = client_of(context_order="static", context_of="another", context_share=0.25)
    assert (found.order, found.whose, found.context_share) == ("static", "another", 0.25)


def test_without_trained_weights_the_order_is_by_tfidf_else_by_features() -> None:
    assert client_of().order == "tfidf"
    trained = small(model={"model": "bert-base-uncased"})
    client = find("perplm-hard").build(trained).client
    assert isinstance(client, HardPrompts)
    assert client.order == "features"


@pytest.mark.parametrize("order", ["static", "tfidf", "features"])
def test_a_copy_of_the_encoder_is_kept_only_where_it_is_asked(order: str) -> None:
    method = find("perplm-hard").build(small(perplm_hard={"context_order": order}, perplm_soft=ALONE))
    expected = [ContextSegments(), *([FrozenFeatures()] if order == "features" else [])]
    assert list(method.additions) == expected


@pytest.mark.parametrize(("stage", "kind"), [("plain", Plain), ("personal", HardPrompts)])
def test_words_are_masked_before_the_task_with_or_without_context(stage: str, kind: type) -> None:
    method = find("perplm-hard").build(small(perplm_soft={"intermediate": stage}))
    masked, task = (phase.client for phase in method.phases)
    assert type(masked) is kind
    assert isinstance(masked, Plain)
    assert isinstance(task, HardPrompts)
    assert (masked.masking, task.masking) == (Masking(), None)
    assert MaskedHead() in method.additions


def test_by_features_a_run_ends_as_any_other(silent: Reporter) -> None:
    settings = small(perplm_hard={"context_order": "features"}, perplm_soft=ALONE, federation={"rounds": 1})
    setup = prepare(settings, find("perplm-hard").build, silent)
    outcome = simulate(setup, silent)
    assert outcome.arrays.keys() == setup.base.keys()
    assert not [name for name in outcome.arrays if "frozen" in name]


QUICK = "--clients 4 --public-people 6 --held-out-people 0 --rounds 1 --workers 0 --hidden-size 16 --heads 2"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--context-share 0.001", "--context-share 0.001 leaves no room for any context within 128 tokens"),
        ("--context-share 1", "--context-share"),
        ("--context-order newest", "--context-order"),
    ],
)
def test_what_cannot_work_is_one_line_and_status_2(given: str, said: str, run: Run) -> None:
    status, out, err = run("simulate", "--method", "perplm-hard", *QUICK.split(), *given.split())
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_a_decoder_as_the_model_is_refused(run: Run, tmp_path: Path) -> None:
    there = str(gpt2(tmp_path / "gpt2"))
    sizes = QUICK.partition(" --hidden-size")[0].split()
    status, out, err = run("simulate", "--method", "perplm-hard", "--model", there, *sizes)
    assert (status, out) == (2, "")
    assert "gpt2 is none" in err


def written(folder: Path, texts: list[str]) -> list[str]:
    """Writes five people with these texts, and returns the flags that read them."""
    rows = [f"p{n},{text},{when % 2},{when}" for n in range(5) for when, text in enumerate(texts)]
    (folder / "data.csv").write_text("\n".join(["user_id,text,label,when", *rows]) + "\n")
    given = "--data data.csv --time-column when --split time --public-people 1 --rounds 1 --workers 0"
    return [*given.split(), "--intermediate", "none"]


def test_answers_in_words_are_refused(run: Run, tmp_path: Path) -> None:
    given = written(tmp_path, ["good", "bad", "fine"])
    status, out, err = run("simulate", "--method", "perplm-hard", "--answer", "text", *given)
    assert (status, out) == (2, "")
    assert "gpt2 is none: use such a --model, or tiny with --answer class" in err


def test_people_without_earlier_texts_are_told_of_once(run: Run, tmp_path: Path) -> None:
    status, _, err = run("simulate", "--method", "perplm-hard", *written(tmp_path, ["same"] * 4))
    assert status == 0, err
    assert err.count("4 of 4 people have no earlier text: they are read without context") == 1


def test_where_everyone_has_earlier_texts_nothing_is_told(run: Run, tmp_path: Path) -> None:
    status, _, err = run("simulate", "--method", "perplm-hard", *written(tmp_path, ["good", "bad", "fine"]))
    assert status == 0, err
    assert "no earlier text" not in err
