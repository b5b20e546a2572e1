"""Trains a WordPiece vocabulary that is the same in every process.

The tokenizers library trains one too, but its ties are broken by the order of a hash table, so two runs on
the same text give different vocabularies, and with them different token ids and weights. This is the same
algorithm (merge the most frequent pair of pieces, again and again) with ties broken by spelling.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_LONGEST_ALPHABET = 1000
_FEWEST = 2  # a pair that occurs only once is not merged

Pair = tuple[str, str]


def train_wordpiece(texts: Iterable[str], size: int, characters: str = "") -> tuple[str, ...]:
    """Returns the entries of a vocabulary in id order: special tokens, single characters, merged pieces.

    Args:
        texts: What to train on; lower-cased and split as BERT does.
        size: Most entries, unless the special tokens and characters alone are more.
        characters: Characters that have entries whether the texts hold them or not.
    """
    counts = count_words(texts)
    words = [_characters(word) for word in counts]
    weights = list(counts.values())
    vocabulary = list(dict.fromkeys([*SPECIAL, *_alphabet(words, weights, characters)]))
    known = set(vocabulary)
    pairs, places = _count_pairs(words, weights)
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    while heap and len(vocabulary) < size:
        negative, pair = heapq.heappop(heap)
        if pairs[pair] != -negative:  # an old count; the present one has its own place in the heap
            continue
        if pairs[pair] < _FEWEST:
            break
        merged = pair[0] + pair[1].removeprefix("##")
        if merged not in known:
            known.add(merged)
            vocabulary.append(merged)
        for changed in sorted(_merge(pair, merged, words, weights, pairs, places)):
            heapq.heappush(heap, (-pairs[changed], changed))
    return tuple(vocabulary)


def count_words(texts: Iterable[str]) -> dict[str, int]:
    """Returns how often each word occurs, words in alphabetical order.

    >>> count_words(["Good, good film"])
    {',': 1, 'film': 1, 'good': 2}
    """
    normalizer, splitter = BertNormalizer(lowercase=True), BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    return dict(sorted(counts.items()))


def _characters(word: str) -> list[str]:
    return [word[0], *(f"##{character}" for character in word[1:])]


def _alphabet(words: list[list[str]], weights: list[int], characters: str) -> list[str]:
    """Returns single characters: each as the start of a word, and those seen inside words as such too."""
    counts: Counter[str] = Counter()
    for word, weight in zip(words, weights, strict=True):
        for piece in word:
            counts[piece] += weight
            counts[piece.removeprefix("##")] += weight
    ranked = sorted(counts, key=lambda piece: (-counts[piece], piece))
    always = {form for character in characters for form in (character, f"##{character}")}
    return sorted({*ranked[:_LONGEST_ALPHABET], *always})


def _count_pairs(words: list[list[str]], weights: list[int]) -> tuple[Counter[Pair], dict[Pair, set[int]]]:
    """Returns how often each pair of neighbours occurs, and in which words."""
    pairs: Counter[Pair] = Counter()
    places: dict[Pair, set[int]] = defaultdict(set)
    for number, (word, weight) in enumerate(zip(words, weights, strict=True)):
        for pair in pairwise(word):
            pairs[pair] += weight
            places[pair].add(number)
    return pairs, places


def _merge(
    pair: Pair,
    merged: str,
    words: list[list[str]],
    weights: list[int],
    pairs: Counter[Pair],
    places: dict[Pair, set[int]],
) -> set[Pair]:
    """Joins a pair wherever it occurs and returns the pairs whose counts changed."""
    changed: set[Pair] = set()
    for number in places.pop(pair):
        before = words[number]
        after: list[str] = []
        for piece in before:
            if after and (after[-1], piece) == pair:
                after[-1] = merged
            else:
                after.append(piece)
        words[number] = after
        for sign, pieces in ((-1, before), (1, after)):
            for neighbours in pairwise(pieces):
                pairs[neighbours] += sign * weights[number]
                changed.add(neighbours)
                if sign > 0:
                    places[neighbours].add(number)
    return {neighbours for neighbours in changed if pairs[neighbours] > 0}
