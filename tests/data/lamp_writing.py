"""Writes small files in LaMP's and OPPU's layouts, and reads them."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fedpers.data.lamp import Language, read_lamp
from fedpers.errors import InputError

DAY = 86_400.0
NEWS = "Which section? sections: [travel, sports] article: "
LAID_OUT = {
    "news-category": ({"text": "x", "title": "t", "category": "crime"}, f"{NEWS}Q", "crime", "LaMP_2N"),
    "movie-tag": ({"description": "x", "tag": "action"}, "tags: [a, b] description: Q", "action", "LaMP_2M"),
    "rating": ({"text": "x", "score": "4"}, "Which score of 1, 2, 3? review: Q", "4", "LaMP_3"),
    "headline": ({"text": "x", "title": "y"}, "A headline for this article: Q", "y", "LaMP_4"),
    "scholarly-title": ({"title": "y", "abstract": "x"}, "A title for this abstract: Q", "y", "LaMP_5"),
    "tweet": ({"text": "y"}, "Paraphrase this tweet: Q", "y", "LaMP_7"),
}


def dumped(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps(value).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def news(number: str, text: str = "Snow fell.", category: str = "travel", **more: object) -> dict[str, Any]:
    return {"id": number, "text": text, "title": "T", "category": category, "date": "1970-01-02"} | more


def question(number: str, asked: str = f"{NEWS}Rain.", *profile: Any, **more: object) -> dict[str, Any]:
    return {"id": number, "input": asked, "profile": list(profile) or [news("a")]} | more


def split(
    folder: Path, questions: list[Any], outputs: dict[str, str], task: str = "LaMP_2N", name: str = "dev_"
) -> Path:
    golds = [{"id": number, "output": output} for number, output in outputs.items()]
    dumped(folder / f"{name}outputs.json", {"task": task, "golds": golds})
    return dumped(folder / f"{name}questions.json", questions)


def person(user: str, profile: list[Any], *queries: tuple[str, str, str]) -> dict[str, Any]:
    asked = [{"id": number, "input": text, "gold": gold} for number, text, gold in queries]
    return {"user_id": user, "profile": profile, "query": asked}


def one_news_person(folder: Path, **more: Any) -> Path:
    return dumped(
        folder / "users.json", [person("ann", [news("a", **more)], ("q", f"{NEWS}Rain.", "sports"))]
    )


def released(folder: Path, targets: str = "user_top_100_history.json") -> Path:
    dumped(folder / "user_others.json", [person("bob", [news("b")], ("r", f"{NEWS}Hail.", "travel"))])
    dumped(folder / targets, [person("ann", [news("a")], ("q", f"{NEWS}Rain.", "sports"))])
    return folder


def rows(language: Language, *columns: str, query: bool | None = None) -> list[Any]:
    found = [row for row in language.table.to_pylist() if query is None or row["query"] is query]
    return [row[columns[0]] if len(columns) == 1 else tuple(row[name] for name in columns) for row in found]


def message(path: Path, tasks_file: Path | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read_lamp(path, tasks_file)
    assert "\n" not in str(caught.value)
    return str(caught.value)
