"""The audit of a finished run's anonymous uploads: whose each of them is, and what else they tell."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedpers import runs
from fedpers.audit.attackers import attack, completed, density_of, material
from fedpers.audit.entropy import gain_by_entropy
from fedpers.audit.request import request_costs
from fedpers.audit.settings import AuditSettings
from fedpers.clients import AnonymousUpload
from fedpers.errors import InputError
from fedpers.experiments import find, own_sections
from fedpers.experiments.idfree import Own, family_of
from fedpers.models import load
from fedpers.privacy import linkability
from fedpers.report.attribution_plots import draw_uploads
from fedpers.report.progress import Reporter
from fedpers.seeds import stream
from fedpers.settings import resolve
from fedpers.simulation import lay_out
from fedpers.simulation.setup import threads


def audit_uploads(folder: Path, given: AuditSettings, report: Reporter) -> dict[str, Any]:
    """Audits the uploads of a finished run, and records the audit in its folder."""
    given.check()
    crossing = runs.read_crossing(folder)
    settings = resolve([runs.settings_of(folder)], own_sections())
    method, population, spec = lay_out(settings, find(settings.run.method).build)
    family = family_of(settings.of(Own, "idfree"))
    if len(population.clients) < 2:
        raise InputError("a single person's uploads cannot be anyone else's: attribution needs 2 clients")
    crossing = completed(crossing, population.clients, family)
    density = density_of(settings, runs.result_of(folder)["privacy"])
    rows = []
    for row in attack(given, density, crossing, population):
        report.say(f"{row.attacker}: {row.misattribution_rate:.1%} misattributed")
        rows.append(asdict(row))
    uploads, _ = material(crossing, population.clients)
    client = method.client
    assert isinstance(client, AnonymousUpload)
    assert client.tokens is not None
    model = load(spec)
    with threads(settings.engine.threads):
        costs = request_costs(model, client.tokens, uploads.texts[0], given.bandwidth)
        bins = []
        if given.entropy and model.writes:
            report.say("no gain by entropy, which is of classes: the answers are written")
        elif given.entropy:
            report.say("predicting with other people's embeddings")
            stages = runs.read_stages(folder)
            arrays = stages[runs.BEST], stages["central"]
            bins = gain_by_entropy(model, *arrays, client.tokens, crossing, population)
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
