"""What each command does, from settings to the record that is printed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fedpers import audit, comparison, modules, runs, verification
from fedpers.audit import AuditSettings, MembershipSettings, UpdateSettings
from fedpers.clients import AnonymousUpload
from fedpers.data import open_source
from fedpers.data.describe import Description
from fedpers.data.describe import describe as describe_people
from fedpers.engine import remove_checkpoints
from fedpers.errors import InputError
from fedpers.evaluation import Scores, change, paired_test, principal
from fedpers.experiments import find, oppu, own_sections
from fedpers.experiments.idfree import Own, family_of
from fedpers.models import Arrays, load
from fedpers.privacy import linkability
from fedpers.report.attribution_plots import draw_frontier, draw_uploads
from fedpers.report.progress import Reporter
from fedpers.seeds import stream
from fedpers.settings import Settings, resolve
from fedpers.simulation import Keep, Outcome, Setup, lay_out, prepare
from fedpers.simulation import simulate as run_federated
from fedpers.simulation.setup import threads
from fedpers.study import Layer, cells_of, conduct, find_study, studies

# What changes no result and may be different when a run goes on.
_FREE = tuple(("engine", name) for name in ("workers", "ray_address", "checkpoint_every"))

_STATES = "states"  # where people's states are while a run goes on that keeps them
_BEST = "best"  # what the best parameters are called among those of the phases


def simulate(settings: Settings, out: Path | None, report: Reporter) -> dict[str, Any]:
    """Runs one method federated and fills the run's folder."""
    method = find(settings.run.method)
    with runs.new_run(out, method.name, settings) as folder:
        return _run(folder, settings, report, resume=False)


def _run(folder: Path, settings: Settings, report: Reporter, *, resume: bool) -> dict[str, Any]:
    """Runs a method in a run's folder, or goes on with it there, and fills the folder."""
    build = find(settings.run.method).build
    states = folder / _STATES
    if build(settings).owned and settings.engine.state_folder is None and settings.engine.ray_address is None:
        # Modules are many and stay: on the disk they need no memory, whatever the number of people.
        engine = settings.engine.model_copy(update={"state_folder": str(states)})
        settings = settings.model_copy(update={"engine": engine})
    setup = prepare(settings, build, report, resume=resume)
    outcome = run_federated(
        setup,
        report,
        runs.checkpoints(folder),
        resume=resume,
        modules=_states_kept(setup, folder),
        keep=_rounds_kept(settings, folder),
    )
    result = _simulated(setup, outcome, folder)
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


def resume(folder: Path, layers: Sequence[Mapping[str, Any]], report: Reporter) -> dict[str, Any]:
    """Goes on with a run that was cut off, from its newest checkpoint.

    Args:
        folder: The run's folder.
        layers: Settings given anew; only those of the engine that change no result.
        report: Where progress goes.
    """
    settings, changed = runs.reopen(folder)
    for layer in layers:
        other = [f"{s}.{f}" for s, fields in layer.items() for f in fields if (s, f) not in _FREE]
        if other:
            names = ", ".join(f"{section}.{field}" for section, field in _FREE)
            raise InputError(f"--resume goes on with the run's own {other[0]}: only {names} can be given")
    for difference in changed:
        report.say(f"{difference}: the outcome may differ")
    return _run(folder, resolve([settings, *layers], own_sections()), report, resume=True)


def compare(
    settings: Settings, methods: str, seeds: str, out: Path | None, report: Reporter
) -> dict[str, Any]:
    """Runs several methods central and federated, and fills one folder with all of it."""
    names = [name.strip() for name in methods.split(",") if name.strip()]
    builds = {find(name).name: find(name).build for name in names}
    if not builds:
        raise InputError("--methods names no method: give one or more, parted by commas")
    numbers = _seeds(seeds)
    trials: list[comparison.Trial] = []
    with runs.new_run(out, "compare", settings) as folder:
        try:
            for trial in comparison.run_trials(settings, builds, numbers, report):
                trials.append(trial)
                place = f"-{trial.method}-{trial.setting}-{trial.seed}"
                runs.write_history(folder, trial.outcome.history, place)
        except KeyboardInterrupt:
            if not trials:
                raise
            report.say("stopped: comparing what was finished")
        result = {**comparison.record(trials), "run": str(folder)}
        runs.write_result(folder, result)
    return result


def verify(settings: Settings, report: Reporter) -> dict[str, Any]:
    """Runs a few rounds of a method on every engine and compares what comes out."""
    build = find(settings.run.method).build
    checks = [asdict(check) for check in verification.verify(settings, build, report)]
    agree = all(check["agrees"] for check in checks)
    return {"method": settings.run.method, "checks": checks, "agree": agree}


def list_studies() -> list[dict[str, Any]]:
    """Lists the shipped studies."""
    return [
        {"name": name, "title": found.title, "runs": len(cells_of(found)) * len(found.seeds)}
        for name, found in studies().items()
    ]


def study(
    name: str,
    layers: Sequence[Layer],
    seeds: str | None,
    out: Path | None,
    jobs: int | None,
    report: Reporter,
) -> dict[str, Any]:
    """Runs what is missing of a study, and fills its folder."""
    if jobs is not None and jobs < 0:
        raise InputError(f"--jobs {jobs}: give a number of runs, 0 or more (nearest: 0)")
    name, found = find_study(name)
    if seeds is not None:
        found = found.model_copy(update={"seeds": tuple(_seeds(seeds))})
    result = conduct(name, found, layers, out, jobs, report)
    if result["interrupted"]:
        report.say(f"stopped: the same command with --out {result['run']} goes on")
    return result


def attack_attribution(
    settings: Settings, given: AuditSettings, out: Path | None, report: Reporter
) -> dict[str, Any]:
    """Runs IDfree-PL, fills the run's folder, and audits it."""
    method = find(settings.run.method)
    if method.name != "idfree":
        raise InputError(f"--method {method.name} uploads no records to attribute: use idfree")
    with runs.new_run(out, method.name, settings) as folder:
        setup = prepare(settings, method.build, report)
        outcome = run_federated(setup, report, runs.checkpoints(folder))
        _simulated(setup, outcome, folder)
    return audit_run(folder, given, report)


def audit_run(folder: Path, given: AuditSettings, report: Reporter) -> dict[str, Any]:
    """Audits the uploads of a finished run, and records the audit in its folder."""
    crossing = runs.read_crossing(folder)
    settings = resolve([runs.settings_of(folder)], own_sections())
    method, population, spec = lay_out(settings, find(settings.run.method).build)
    family = family_of(settings.of(Own, "idfree"))
    if len(population.clients) < 2:
        raise InputError("a single person's uploads cannot be anyone else's: attribution needs 2 clients")
    crossing = audit.completed(crossing, population.clients, family)
    rows = []
    for row in audit.attack(given, family, crossing, population):
        report.say(f"{row.attacker}: {row.misattribution_rate:.1%} misattributed")
        rows.append(asdict(row))
    uploads, _ = audit.material(crossing, population.clients)
    client = method.client
    assert isinstance(client, AnonymousUpload)
    assert client.tokens is not None
    model = load(spec)
    with threads(settings.engine.threads):
        costs = audit.request_costs(model, client.tokens, uploads.texts[0], given.bandwidth)
        bins = []
        if given.entropy and model.writes:
            report.say("no gain by entropy, which is of classes: the answers are written")
        elif given.entropy:
            report.say("predicting with other people's embeddings")
            stages = runs.read_stages(folder)
            arrays = stages[_BEST], stages["central"]
            bins = audit.gain_by_entropy(model, *arrays, client.tokens, crossing, population)
    drawn = draw_uploads(uploads.vectors, uploads.senders, settings.run.seed, folder) if given.tsne else []
    result = {
        "rows": rows,
        "people": len(population.clients),
        "uploads": len(uploads.senders),
        "linkability": linkability(uploads, stream(settings.run.seed, "linkability")),
        "request": asdict(costs),
        "entropy": [asdict(part) for part in bins],
        "files": [str(path) for path in drawn],
        "run": str(folder),
    }
    runs.write_result(folder, result, "attribution")
    return result


def sweep_attribution(settings: Settings, sweep: str, out: Path | None, report: Reporter) -> dict[str, Any]:
    """Runs IDfree-PL along a sweep, and fills a folder with the frontier."""
    values = audit.parse_sweep(sweep)
    points = []
    with runs.new_run(out, "frontier", settings) as folder:
        for point in audit.frontier(settings, values, report):
            points.append(point)
            wrong = point.attribution.misattribution_rate
            report.say(
                f"{values.field} {point.value:g}: accuracy {point.accuracy:.3f}, {wrong:.1%} misattributed"
            )
        if not points:  # stopped before there was one
            raise KeyboardInterrupt
        most = max(point.gain for point in points)
        result: dict[str, Any] = {
            "field": values.field,
            "sweep": [{**asdict(point), "kept": point.gain / most if most > 0 else None} for point in points],
            "run": str(folder),
        }
        result["files"] = [str(path) for path in draw_frontier(result, folder)]
        runs.write_result(folder, result)
    return result


def attack_update(run: Path, given: UpdateSettings, report: Reporter) -> dict[str, Any]:
    """Attacks the updates of a finished run's devices, and records what they reveal in its folder."""
    result = audit.attack_updates(run, given, report)
    runs.write_result(run, result, "updates")
    return result


def attack_membership(run: Path, given: MembershipSettings, report: Reporter) -> dict[str, Any]:
    """Asks whether texts or people were in the training of a finished run, and records it in its folder."""
    result = audit.audit_membership(run, given, report)
    runs.write_result(run, result, "membership")
    return result


def people(run: Path, module: str | None) -> dict[str, Any]:
    """Lists who has personal modules in a run."""
    kind = modules.find_kind(run, module)
    return {
        "run": str(run),
        "modules": [asdict(found) for found in modules.kinds_of(run)],
        "module": kind.name,
        "measure": runs.result_of(run)["measure"],
        "people": [asdict(owner) for owner in modules.owners(run, kind)],
    }


def compare_people(run: Path, module: str | None) -> dict[str, Any]:
    """Tells how alike people's modules are."""
    kind = modules.find_kind(run, module)
    pairs = modules.compare(run, kind)
    if not pairs:
        raise InputError(f"{run} has modules of fewer than 2 people: there is nobody to compare with")
    return {"run": str(run), "module": kind.name, "pairs": [asdict(pair) for pair in pairs]}


def people_strata(run: Path) -> dict[str, Any]:
    """Tells how people fare by the length of their history."""
    strata = [asdict(stratum) for stratum in modules.strata(run)]
    return {"run": str(run), "measure": runs.result_of(run)["measure"], "strata": strata}


def export_person(run: Path, person: str, module: str | None, to: Path) -> dict[str, Any]:
    """Takes a person's module out of a run, in peft's format."""
    kind = modules.find_kind(run, module)
    own = resolve([runs.settings_of(run)], own_sections()).of(oppu.Own, "oppu")
    loaded_by = modules.export(run, person, kind, oppu.adapter_of(own, kind.adapter), to)
    base = str((run / kind.base).resolve())
    return {"person": person, "module": kind.name, "to": str(to), "base": base, "class": loaded_by}


def forget_person(run: Path, person: str) -> dict[str, Any]:
    """Removes all that a run holds of a person."""
    return {"person": person, "removed": modules.forget(run, person)}


def describe(settings: Settings) -> Description:
    """Looks at a source without training anything."""
    people, notes = open_source(settings.data, settings.synthetic, settings.run.seed)
    return describe_people(people, notes)


def _seeds(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise InputError(
            f"--seeds {text!r}: give different whole numbers from 0, parted by commas, as in 0,1,2"
        )
    return [int(part) for part in parts]


def _simulated(setup: Setup, outcome: Outcome, folder: Path) -> dict[str, Any]:
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
        runs.write_stages(folder, {**stages, _BEST: outcome.arrays})
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
