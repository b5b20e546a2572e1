"""Pictures of the audit, as PNG and SVG: the frontier of a sweep, and uploads by t-SNE."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from fedpers.data import Ints
from fedpers.files import writing

# Published for "variance" 0.02 and 0.32 (IDfree-PL, arXiv 2501.06062): misattribution and accuracy.
_PUBLISHED = ((0.0, 0.800, "0.02"), (0.7093, 0.7877, "0.32"))
_SHOWN, _DRAWS, _PERPLEXITY = 10, 100, 30.0


def draw_frontier(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draws accuracy over misattribution, a point a value, and returns the files."""
    points = sorted(result["sweep"], key=lambda point: point["value"])
    wrong = [100 * point["attribution"]["misattribution_rate"] for point in points]
    right = [100 * point["accuracy"] for point in points]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    central = 100 * points[0]["central_accuracy"]
    axes.axhline(central, color="0.5", linestyle="--", label="central model, no embedding")
    axes.plot(wrong, right, marker="o", label=f"this sweep, by {result['field']}")
    for x, y, point in zip(wrong, right, points, strict=True):
        axes.annotate(f"{point['value']:g}", (x, y), textcoords="offset points", xytext=(0, 8), ha="center")
    axes.plot(
        [100 * x for x, _, _ in _PUBLISHED],
        [100 * y for _, y, _ in _PUBLISHED],
        linestyle="none",
        marker="s",
        markerfacecolor="none",
        color="0.3",
        label="published (other people and model)",
    )
    for x, y, name in _PUBLISHED:
        axes.annotate(
            name, (100 * x, 100 * y), textcoords="offset points", xytext=(0, -14), ha="center", color="0.3"
        )
    axes.set(xlabel="misattributed uploads (%)", ylabel="test accuracy (%)", xlim=(-4, 104))
    axes.margins(y=0.15)
    axes.legend(loc="best", frameon=False)
    return save(figure, folder, "frontier")


def draw_uploads(vectors: npt.NDArray[np.float64], senders: Ints, seed: int, folder: Path) -> list[Path]:
    """Draws up to 100 uploads of each of 10 people by t-SNE, and returns the files.

    Args:
        vectors: Embeddings (uploads, coordinates).
        senders: The person of each (uploads,).
        seed: Of t-SNE's start.
        folder: Where to.
    """
    people = np.unique(senders)[:_SHOWN]
    places = np.concatenate([np.flatnonzero(senders == person)[:_DRAWS] for person in people])
    perplexity = min(_PERPLEXITY, (len(places) - 1) / 3)
    flat = TSNE(perplexity=perplexity, random_state=seed, init="pca").fit_transform(vectors[places])
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(flat[:, 0], flat[:, 1], c=np.searchsorted(people, senders[places]), cmap="tab10", s=12)
    axes.set(title=f"Uploads of {len(people)} people by t-SNE, a colour a person", xticks=[], yticks=[])
    return save(figure, folder, "uploads")


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes a figure as PNG and SVG, and returns the files."""
    FigureCanvasAgg(figure)
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    for path in paths:
        with writing(path):
            figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths
