import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

from tokenizers import BertWordPieceTokenizer

from fedpers.models.wordpiece import SPECIAL, train_wordpiece

# Word counts are powers of two, so the first merges have no ties: ##un pun bun ##ug hug pug.
TEXTS = [
    word for power, word in enumerate(["hugging", "pug", "hug", "bun", "pun"], 1) for _ in range(2**power)
]


def test_without_ties_it_finds_the_entries_that_the_tokenizers_library_finds() -> None:
    library = BertWordPieceTokenizer(lowercase=True)
    for size in (18, 20, 22):
        library.train_from_iterator(TEXTS, vocab_size=size, min_frequency=2, show_progress=False)
        assert set(train_wordpiece(TEXTS, size)) == set(library.get_vocab())


def test_merges_equal_a_plain_loop_that_counts_again_each_time() -> None:
    texts = ["low lower lowest new newer newest wide wider widest"] * 3 + ["low new", "slow snow now"]
    words = Counter(" ".join(texts).split())
    pieces = {word: [word[0], *("##" + c for c in word[1:])] for word in words}
    merged: list[str] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in pieces.items():
            for left, right in pairwise(parts):
                pairs[left, right] += words[word]
        if not pairs or max(pairs.values()) < 2:
            break
        left, right = min(pairs, key=lambda pair: (-pairs[pair], pair))
        entry = left + right.removeprefix("##")
        if entry not in merged:
            merged.append(entry)
        for word, parts in pieces.items():
            joined: list[str] = []
            for part in parts:
                if joined and (joined[-1], part) == (left, right):
                    joined[-1] = entry
                else:
                    joined.append(part)
            pieces[word] = joined
    vocabulary = train_wordpiece(texts, 1000)
    alphabet = {character for word in words for character in word}
    alphabet |= {"##" + character for word in words for character in word[1:]}
    assert list(vocabulary) == [*SPECIAL, *sorted(alphabet), *merged]


def test_another_process_finds_the_same_entries_in_the_same_order() -> None:
    texts = ["abab baba abba", "cab bac"] * 2
    code = f"from fedpers.models.wordpiece import train_wordpiece; print(train_wordpiece({texts!r}, 40))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(train_wordpiece(texts, 40))


def test_it_stops_at_the_size() -> None:
    assert len(train_wordpiece(TEXTS, 20)) == 20
