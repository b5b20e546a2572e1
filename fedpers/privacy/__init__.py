"""Attacks: who sent an anonymous upload, and who or what a model was trained on."""

from fedpers.privacy import channels
from fedpers.privacy.blind import blind_rows, linkability
from fedpers.privacy.bounds import misattribution_bound
from fedpers.privacy.identifiability import BetaMixture, equal_mixtures, mixture_density
from fedpers.privacy.known import Evidence, attribute, distributions, known_rows, sample_shares
from fedpers.privacy.labelled import labelled_rows
from fedpers.privacy.likelihood_ratio import Bools, offline, online
from fedpers.privacy.limits import largest_auc, largest_tpr
from fedpers.privacy.links import Groups, cut, linked, singles
from fedpers.privacy.membership import FALSE_POSITIVES, MembershipRow, Rate, membership_row
from fedpers.privacy.noised import Noised
from fedpers.privacy.outcomes import Decisions, Row, Uploads, row
from fedpers.privacy.texts import writing

__all__ = [
    "FALSE_POSITIVES",
    "BetaMixture",
    "Bools",
    "Decisions",
    "Evidence",
    "Groups",
    "MembershipRow",
    "Noised",
    "Rate",
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
    "largest_auc",
    "largest_tpr",
    "linkability",
    "linked",
    "membership_row",
    "misattribution_bound",
    "mixture_density",
    "offline",
    "online",
    "row",
    "sample_shares",
    "singles",
    "writing",
]
