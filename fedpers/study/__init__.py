"""Grids of runs described by a file, and the table and picture that they end in."""

from fedpers.study.description import Layer, Study, find_study, studies
from fedpers.study.grid import cells_of
from fedpers.study.run import conduct

__all__ = ["Layer", "Study", "cells_of", "conduct", "find_study", "studies"]
