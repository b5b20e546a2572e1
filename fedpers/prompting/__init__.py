"""Prompts for language models: what is retrieved from a person's history, their profile, and the layout."""

from fedpers.prompting.likeness import cosines, tfidf_likeness
from fedpers.prompting.profile import profile_of, profiles
from fedpers.prompting.prompts import Prompt, Prompting
from fedpers.prompting.retrieval import drawn, retrieve, scores

__all__ = [
    "Prompt",
    "Prompting",
    "cosines",
    "drawn",
    "profile_of",
    "profiles",
    "retrieve",
    "scores",
    "tfidf_likeness",
]
