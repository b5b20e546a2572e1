"""People and their text: sources, roles, splits and the synthetic default."""

from fedpers.data.population import Part, Population, open_source, populate
from fedpers.data.samples import Ints, People, Samples, TablePeople
from fedpers.data.synthetic import Ceilings, SyntheticPeople, ceilings

__all__ = [
    "Ceilings",
    "Ints",
    "Part",
    "People",
    "Population",
    "Samples",
    "SyntheticPeople",
    "TablePeople",
    "ceilings",
    "open_source",
    "populate",
]
