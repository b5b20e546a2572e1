"""What each command does, from settings to the record that is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedpers import audit, comparison, lists, modules, runs, tradeoff, verification
from fedpers.audit import AuditSettings, MembershipSettings, UpdateSettings
from fedpers.data import open_source
from fedpers.data.describe import Description
from fedpers.data.describe import describe as describe_people
from fedpers.errors import InputError
from fedpers.experiments import find, oppu, own_sections
from fedpers.recording import run_in
from fedpers.report.attribution_plots import draw_frontier
from fedpers.report.progress import Reporter
from fedpers.settings import Settings, resolve
from fedpers.study import Layer, cells_of, conduct, find_study, studies

# What changes no result and may be different when a run goes on.
_FREE = tuple(("engine", name) for name in ("workers", "ray_address", "checkpoint_every"))


def simulate(settings: Settings, out: Path | None, report: Reporter) -> dict[str, Any]:
    """Runs one method federated and fills the run's folder."""
    method = find(settings.run.method)
    with runs.new_run(out, method.name, settings) as folder:
        return run_in(folder, settings, report, resume=False)


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
    return run_in(folder, resolve([settings, *layers], own_sections()), report, resume=True)


def compare(
    settings: Settings, methods: str, seeds: str, out: Path | None, report: Reporter
) -> dict[str, Any]:
    """Runs several methods central and federated, and fills one folder with all of it."""
    names = lists.names(methods)
    builds = {find(name).name: find(name).build for name in names}
    if not builds:
        raise InputError("--methods names no method: give one or more, parted by commas")
    numbers = _seeds(settings, seeds)
    trials: list[comparison.Trial] = []
    interrupted = False
    with runs.new_run(out, "compare", settings) as folder:
        try:
            for trial in comparison.run_trials(settings, builds, numbers, report):
                trials.append(trial)
                place = f"-{trial.method}-{trial.setting}-{trial.seed}"
                runs.write_history(folder, trial.outcome.history, place)
        except KeyboardInterrupt:
            if not trials:
                raise
            interrupted = True
            report.say("stopped: comparing what was finished")
        result = {**comparison.record(trials), "interrupted": interrupted, "run": str(folder)}
        runs.write_result(folder, result)
    return result


def _seeds(settings: Settings, seeds: str) -> list[int]:
    """Returns the seeds of a comparison, which the settings must not name too."""
    if settings.run.seed:
        raise InputError("run.seed is set by --seeds: leave it out")
    return lists.whole_numbers("--seeds", seeds, "0,1,2")


def compare_epsilons(
    settings: Settings, methods: str, epsilons: str, seeds: str, out: Path | None, report: Reporter
) -> dict[str, Any]:
    """Runs several methods at several epsilons, attacks each run, and fills one folder with all of it."""
    names = [find(name).name for name in lists.names(methods)]
    asked, numbers = tradeoff.parse_epsilons(epsilons), _seeds(settings, seeds)
    if not names:
        raise InputError("--methods names no method: give one or more, parted by commas")
    trials, folder, interrupted = [], out, False
    try:
        for place, trial in tradeoff.trade(settings, names, asked, numbers, out, report):
            folder = place
            trials.append(trial)
    except KeyboardInterrupt:
        if not trials:
            raise
        interrupted = True
    assert folder is not None
    result = {**tradeoff.record(trials), "interrupted": interrupted, "run": str(folder)}
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
        found = found.model_copy(update={"seeds": tuple(lists.whole_numbers("--seeds", seeds, "0,1,2"))})
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
    given.check()
    with runs.new_run(out, method.name, settings) as folder:
        result = run_in(folder, settings, report, resume=False)
    if result["interrupted"] and not runs.has_crossing(folder):
        raise KeyboardInterrupt
    return audit.audit_uploads(folder, given, report)


def audit_attribution(run: Path, given: AuditSettings, report: Reporter) -> dict[str, Any]:
    """Audits the uploads of a finished run."""
    return audit.audit_uploads(run, given, report)


def sweep_attribution(settings: Settings, sweep: str, out: Path | None, report: Reporter) -> dict[str, Any]:
    """Runs IDfree-PL along a sweep, and fills a folder with the frontier."""
    values = audit.parse_sweep(sweep)
    points, interrupted = [], False
    with runs.new_run(out, "frontier", settings) as folder:
        try:
            for point in audit.frontier(settings, values, report):
                points.append(point)
                wrong = f"{point.attribution.misattribution_rate:.1%} misattributed"
                report.say(f"{values.field} {point.value:g}: accuracy {point.accuracy:.3f}, {wrong}")
        except KeyboardInterrupt:
            if not points:
                raise
            interrupted = True
            report.say("stopped: drawing the points that were finished")
        most = max(point.gain for point in points)
        result: dict[str, Any] = {
            "field": values.field,
            "sweep": [{**asdict(point), "kept": point.gain / most if most > 0 else None} for point in points],
            "interrupted": interrupted,
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
    runs.write_result(run, result, given.record)
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
