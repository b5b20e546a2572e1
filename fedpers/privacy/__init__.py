"""The attribution audit: how often anonymous uploads are traced to their senders, and by whom."""

from fedpers.privacy import channels
from fedpers.privacy.blind import blind_rows, linkability
from fedpers.privacy.bounds import misattribution_bound
from fedpers.privacy.identifiability import BetaMixture, equal_mixtures, mixture_density
from fedpers.privacy.known import Evidence, attribute, distributions, known_rows, sample_shares
from fedpers.privacy.labelled import labelled_rows
from fedpers.privacy.links import Groups, cut, linked, singles
from fedpers.privacy.outcomes import Decisions, Row, Uploads, row
from fedpers.privacy.texts import writing

__all__ = [
    "BetaMixture",
    "Decisions",
    "Evidence",
    "Groups",
    "Row",
    "Uploads",
    "attribute",
    "blind_rows",
    "channels",
    "cut",
    "distributions",
    "equal_mixtures",
    "known_rows",
    "labelled_rows",
    "linkability",
    "linked",
    "misattribution_bound",
    "mixture_density",
    "row",
    "sample_shares",
    "singles",
    "writing",
]
