"""One run from its settings to a folder that holds all of it."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fedpers import modules, runs
from fedpers.engine import remove_checkpoints
from fedpers.errors import CtrlCError, WriteError
from fedpers.evaluation import Scores, change, paired_test, principal
from fedpers.experiments import find, oppu
from fedpers.models import Arrays
from fedpers.report.progress import Reporter
from fedpers.seeds import stream
from fedpers.settings import Settings
from fedpers.simulation import Keep, Outcome, Setup, prepare
from fedpers.simulation import simulate as run_federated

_STATES = "states"  # where people's states are while a run goes on that keeps them


def run_in(
    folder: Path, settings: Settings, report: Reporter, *, resume: bool, partly: bool = True
) -> dict[str, Any]:
    """Runs a method in a run's folder, or goes on with it there, and fills the folder.

    Args:
        folder: The run's folder.
        settings: All settings.
        report: Where progress goes.
        resume: Whether it goes on from the checkpoint that is there.
        partly: Whether what was done is recorded when somebody stops it.

    Raises:
        KeyboardInterrupt: Somebody stopped it, and that is not to be recorded; its checkpoint stays. Or
            there is nothing to go on from.
        CtrlCError: Somebody stopped it before its score was there.
        WriteError: What came out cannot be written; a checkpoint stays if there was one.
    """
    try:
        return _run_in(folder, settings, report, resume=resume, partly=partly)
    except KeyboardInterrupt:
        if not partly or not runs.can_go_on(folder):
            raise
        raise CtrlCError(f"stopped by Ctrl-C; {runs.way_on(folder)}") from None
    except WriteError as error:
        if not runs.can_go_on(folder):
            raise
        raise WriteError(f"{error}; {runs.way_on(folder)}") from error


def _run_in(
    folder: Path, settings: Settings, report: Reporter, *, resume: bool, partly: bool
) -> dict[str, Any]:
    build = find(settings.run.method).build
    states = folder / _STATES
    if build(settings).owned and settings.engine.state_folder is None and settings.engine.ray_address is None:
        # Modules are many and stay: on the disk they need no memory, whatever the number of people.
        engine = settings.engine.model_copy(update={"state_folder": str(states)})
        settings = settings.model_copy(update={"engine": engine})
    setup = prepare(settings, build, report, resume=resume)
    (runs.check_data if resume else runs.write_data)(folder, setup.population.people)
    outcome = run_federated(
        setup,
        report,
        runs.checkpoints(folder),
        resume=resume,
        modules=_states_kept(setup, folder),
        keep=_rounds_kept(settings, folder),
    )
    if outcome.interrupted and not partly:
        raise KeyboardInterrupt
    result = _record_run(setup, outcome, folder)
    shutil.rmtree(states, ignore_errors=True)
    return result


def _states_kept(setup: Setup, folder: Path) -> Path | None:
    """Returns where people's states are kept, None if they are not."""
    owned = setup.method.owned
    kept = owned or setup.settings.engine.keep_states
    return runs.kept_states(folder, owned=owned) if kept else None


def _rounds_kept(settings: Settings, folder: Path) -> Keep | None:
    """Returns what keeps every so many rounds' aggregates, None if none is kept."""
    every = settings.engine.keep_rounds

    def keep(phase: int, number: int, arrays: Arrays) -> None:
        if number % every == 0:
            runs.write_round(folder, phase, number, arrays)

    return keep if every else None


def _record_run(setup: Setup, outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Fills the folder of a run that has come to its end, and returns its record."""
    result = _simulation_record(setup, outcome, folder)
    runs.write_history(folder, outcome.history)
    runs.write_people(folder, setup.population.people, outcome.test, _further(setup, outcome))
    runs.write_model(folder / "model", setup.spec, outcome.arrays)
    if setup.method.owned:
        _keep_modules(setup, outcome, folder)
    if outcome.crossing is not None and outcome.crossing.records.vectors.shape[1]:
        runs.write_crossing(folder, outcome.crossing)
        stages = {name: stage.arrays for name, stage in outcome.stages.items()}
        runs.write_stages(folder, {**stages, runs.BEST: outcome.arrays})
    runs.write_result(folder, result)
    remove_checkpoints(runs.checkpoints(folder))
    return result


def _keep_modules(setup: Setup, outcome: Outcome, folder: Path) -> None:
    """Records whose the modules in a run's folder are, with the models that they stand on."""
    adapters = oppu.modules_of(setup.settings.of(oppu.Own, "oppu"))
    bases: dict[str, tuple[str, str]] = {}
    kinds = []
    finished = _arm_scores(setup, outcome)
    for phase in setup.method.phases:
        if phase.against is None or phase.name not in finished:
            continue
        if phase.against not in bases:
            arrays = outcome.stages[phase.against].arrays
            bases[phase.against] = modules.write_base(folder, phase.against, setup.spec, arrays)
        kinds.append(modules.Kind(phase.name, adapters[phase.name], *bases[phase.against]))
    names = {int(person): setup.population.people.name(int(person)) for person in setup.population.clients}
    modules.write_index(folder, names, kinds)


def _arm_scores(setup: Setup, outcome: Outcome) -> dict[str, Scores]:
    """Returns the test scores of every phase that came to its end, by its name, if any is compared."""
    phases = setup.method.phases
    if not any(phase.against for phase in phases):
        return {}
    scores = {name: stage.test for name, stage in outcome.stages.items()}
    return scores | ({} if outcome.interrupted else {phases[-1].name: outcome.test})


def _further(setup: Setup, outcome: Outcome) -> dict[str, Any]:
    """Returns each person's items of history, and how they fare after every phase."""
    scores = _arm_scores(setup, outcome)
    if not scores:
        return {}
    population, measure = setup.population, principal(setup.population.measure)
    items = [len(population.background(int(person), "test")[0]) for person in outcome.test.persons]
    return {"history": np.array(items)} | {name: own.means_by_person(measure) for name, own in scores.items()}


def _arm_records(setup: Setup, outcome: Outcome) -> list[dict[str, Any]]:
    """Returns how every phase scores, and what those gain that are compared with another."""
    phases, scores = setup.method.phases, _arm_scores(setup, outcome)
    measure = principal(setup.population.measure)
    return [
        {
            "phase": phase.name,
            **scores[phase.name].summary(),
            "against": phase.against,
            **(_gain(scores[phase.name], scores[phase.against], measure) if phase.against else {}),
        }
        for phase in phases
        if phase.name in scores
    ]


def _gain(ours: Scores, theirs: Scores, measure: str) -> dict[str, Any]:
    gained = change([ours], [theirs], stream(0, "bootstrap"), measure)
    return {"change": asdict(gained), "p_value": paired_test(ours, theirs, measure)}


def _stage_record(outcome: Outcome, name: str) -> dict[str, Any]:
    """Returns how a phase before the last one stood, and what the run's end gains over it."""
    gained = change([outcome.test], [outcome.stages[name].test], stream(0, "bootstrap"))
    return {"phase": name, "accuracy": outcome.stages[name].test.accuracy, "change": asdict(gained)}


def _simulation_record(setup: Setup, outcome: Outcome, folder: Path) -> dict[str, Any]:
    summary = outcome.test.summary()
    bounds = outcome.ceilings
    arms = _arm_records(setup, outcome)
    return {
        "method": setup.method.name,
        "seed": setup.settings.run.seed,
        "clients": len(setup.population.clients),
        "rounds": outcome.done,
        "best_round": outcome.best,
        "cohort_size": max(setup.cohort_sizes),
        "interrupted": outcome.interrupted,
        "missing_replies": outcome.missing,
        "training_samples": outcome.samples,
        "test_clients": len(outcome.test.persons),
        "test_samples": int(outcome.test.total.sum()),
        **summary,
        "accuracy_std": summary["person_std"],
        "another_accuracy": outcome.another.accuracy,
        "measure": principal(setup.population.measure),
        "arms": arms,
        "privacy": outcome.privacy,
        "stages": [] if arms else [_stage_record(outcome, name) for name in outcome.stages],
        "unseen_accuracy": outcome.unseen[0].accuracy if outcome.unseen else None,
        "unseen_stranger_accuracy": outcome.unseen[1].accuracy if outcome.unseen else None,
        "ceiling_without_person": bounds.without_person if bounds else None,
        "ceiling_with_person": bounds.with_person if bounds else None,
        "ceiling_scatter": bounds.scatter if bounds else None,
        "seconds": outcome.seconds,
        "run": str(folder),
    }
