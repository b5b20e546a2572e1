"""Results of simulate and compare as tables for a terminal 80 columns wide."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fedpers.report.plain import plain_table
from fedpers.report.privacy_tables import privacy_notes

_MEASURES = ("accuracy", "macro_f1", "absolute_error", "rmse", "rouge_1", "rouge_l")  # side by side
_NAMES = MappingProxyType(
    {
        "macro_f1": "F1",
        "rouge_1": "ROUGE-1",
        "rouge_l": "ROUGE-L",
        "absolute_error": "MAE",
        "recall_at_5": "recall@5",
        "reciprocal_rank": "MRR",
    }
)


def simulation_table(result: Mapping[str, Any]) -> RenderableType:
    """Returns one run's scores, with the ceilings where they are known."""
    table = Table(
        box=box.SIMPLE_HEAD, title=f"{result['method']}, seed {result['seed']}", title_justify="left"
    )
    table.add_column("test accuracy")
    table.add_column("", justify="right")
    table.add_row(
        f"pooled over {result['test_samples']:,} texts of {result['test_clients']:,} people",
        _rate(result["accuracy"]),
    )
    table.add_row("mean over people", _rate(result["person_mean"]))
    table.add_row("standard deviation over people", _rate(result["accuracy_std"]))
    table.add_row(
        "lowest and highest decile of people",
        f"{result['person_deciles'][0]:.2f} {result['person_deciles'][-1]:.2f}",
    )
    if result["macro_f1"] is not None:
        table.add_row("macro-F1", _rate(result["macro_f1"]))
    for name, value in result.get("measures", {}).items():
        table.add_row(spoken(name), _rate(value["pooled"]))
    if result["another_accuracy"] != result["accuracy"]:
        table.add_row("everyone as another person", _rate(result["another_accuracy"]))
    for stage in result["stages"]:
        gain = stage["change"]
        table.add_row(f"after the phase `{stage['phase']}`", _rate(stage["accuracy"]))
        table.add_row("  gained since", f"{gain['difference']:+.3f} ({_interval(gain)})")
    if result["unseen_accuracy"] is not None:
        table.add_row("unseen people, as themselves", _rate(result["unseen_accuracy"]))
        table.add_row("unseen people, as strangers", _rate(result["unseen_stranger_accuracy"]))
    arms = [_arm_table(result)] if result["arms"] else []
    notes = [*_ceiling_notes(result), *privacy_notes(result.get("privacy")), *_run_notes(result)]
    return Group(table, *arms, *(Text(note) for note in notes))


def _arm_table(result: Mapping[str, Any]) -> RenderableType:
    """Returns the phases side by side, and what each gains over the one it stands on."""
    arms, judged = result["arms"], result["measure"]
    names = [name for name in _MEASURES if all(_pooled(arm, name) is not None for arm in arms)]
    table = plain_table(f"Phases, judged by {spoken(judged)}")
    table.add_column("phase", no_wrap=True)
    for name in names:
        table.add_column(spoken(name), justify="right")
    for column in ("gain", "95 % interval", "p"):
        table.add_column(column, justify="right")
    for arm in arms:
        gain = arm.get("change")
        told = (
            (f"{gain['difference']:+.3f}", _interval(gain), _p_value(arm["p_value"]))
            if gain
            else ("", "", "")
        )
        table.add_row(arm["phase"], *(_rate(float(_pooled(arm, name) or 0)) for name in names), *told)
    note = "Gain over the model that the modules stand on; p by Wilcoxon's test over people."
    return Group(table, Text(note), Text(""))


def _pooled(scores: Mapping[str, Any], name: str) -> float | None:
    """Returns a measure of a phase pooled over all texts, None if it was not taken."""
    if name in ("accuracy", "macro_f1"):
        found: float | None = scores[name]
        return found
    measures: Mapping[str, Any] = scores.get("measures", {})
    return measures[name]["pooled"] if name in measures else None


def spoken(measure: str) -> str:
    """Returns what a measure is called in tables."""
    return _NAMES.get(measure, measure.replace("_", " ").replace("rmse", "RMSE"))


def _p_value(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def _ceiling_notes(result: Mapping[str, Any]) -> list[str]:
    """Says how the accuracy lies to what can be known without and with the person."""
    without, with_person = result["ceiling_without_person"], result["ceiling_with_person"]
    if without is None:
        return []
    above = result["accuracy"] > without
    return [
        f"Best possible without knowing the person {without:.3f}, with it {with_person:.3f}",
        f"(measured accuracy scatters by {result['ceiling_scatter']:.3f} around what is expected).",
        f"This run lies {'above' if above else 'below'} what a model can expect without knowing the person.",
    ]


def _run_notes(result: Mapping[str, Any]) -> list[str]:
    missing = result["missing_replies"]
    lost = [f"{missing:,} times a device that was sampled did not reply."] if missing else []
    state = "Interrupted after" if result["interrupted"] else "Finished"
    return [
        *lost,
        f"{state} {result['rounds']} rounds in {result['seconds']:.0f} s; parameters are those of round "
        f"{result['best_round']}.",
        f"Run folder: {result['run']}",
    ]


def methods_table(summaries: Mapping[str, str]) -> RenderableType:
    """Returns every method with its line."""
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True)
    for name, summary in summaries.items():
        table.add_row(name, summary)
    return table


def comparison_table(result: Mapping[str, Any]) -> RenderableType:
    """Returns the table of methods by setting, and the differences per person."""
    cells = plain_table(f"Test accuracy, {_seeds(result)}")
    for column in ("method", "setting"):
        cells.add_column(column, no_wrap=True)
    for column in ("accuracy", "95 % interval", "± seeds", "± people", "samples"):
        cells.add_column(column, justify="right")
    for cell in result["cells"]:
        cells.add_row(
            cell["method"],
            cell["setting"],
            _rate(cell["accuracy"]),
            _interval(cell),
            _rate(cell["spread"]),
            _rate(cell["person_std"]),
            f"{cell['samples']:,}",
        )
    parts: list[RenderableType] = [cells]
    if any(cell["measures"] for cell in result["cells"]):
        parts.append(_measure_table(result))
    if result["differences"]:
        parts.append(_difference_table(result))
    if result["ceiling_without_person"] is not None:
        without, with_person = result["ceiling_without_person"], result["ceiling_with_person"]
        parts.append(
            Text(f"Best possible without knowing the person {without:.3f}, with it {with_person:.3f}.")
        )
    if result.get("run"):
        parts.append(Text(f"Run folder: {result['run']}"))
    return Group(*parts)


def verification_table(result: Mapping[str, Any]) -> RenderableType:
    """Returns how the engines agree."""
    table = plain_table(f"{result['method']}: weights after a few rounds")
    for column in ("engine", "compared with", "agreement"):
        table.add_column(column, no_wrap=True)
    for check in result["checks"]:
        apart = f"largest difference {check['largest_difference']:.1e}"
        agreement = "the same bits" if check["identical"] else apart
        mark = "" if check["agrees"] else ": DISAGREES"
        table.add_row(check["engine"], check["reference"], f"{agreement}{mark}")
    return table


def _measure_table(result: Mapping[str, Any]) -> Table:
    """Returns the further measures; a dash stands where one was not taken."""
    cells = result["cells"]
    names = dict.fromkeys(name for cell in cells for name in cell["measures"])
    table = plain_table("Further measures")
    for column in ("method", "setting"):
        table.add_column(column, no_wrap=True)
    for name in names:
        table.add_column(spoken(name), justify="right")
    for cell in cells:
        taken = cell["measures"]
        values = (_rate(taken[name]) if name in taken else "-" for name in names)
        table.add_row(cell["method"], cell["setting"], *values)
    return table


def _difference_table(result: Mapping[str, Any]) -> Table:
    baseline = result["differences"][0]["baseline"]
    table = plain_table(f"Paired with {baseline}, person by person")
    for column in ("method", "setting"):
        table.add_column(column, no_wrap=True)
    for column in ("difference", "95 % interval", "better", "same", "worse"):
        table.add_column(column, justify="right")
    for difference in result["differences"]:
        change = difference["change"]
        shares = (f"{change[share]:.1%}" for share in ("better", "same", "worse"))
        table.add_row(
            difference["method"],
            difference["setting"],
            f"{change['difference']:+.3f}",
            _interval(change),
            *shares,
        )
    return table


def _seeds(result: Mapping[str, Any]) -> str:
    seeds = sorted({seed for cell in result["cells"] for seed in cell["seeds"]})
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _interval(bounds: Mapping[str, Any]) -> str:
    return f"{bounds['low']:.3f} .. {bounds['high']:.3f}"


def _rate(value: float) -> str:
    return f"{value:.3f}"
