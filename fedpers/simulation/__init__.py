"""One method from data to scores: federated over simulated devices, or central as the control."""

from fedpers.simulation.desk import Keep
from fedpers.simulation.guarantee import Guarantee
from fedpers.simulation.outcome import Outcome, Stage
from fedpers.simulation.promises import check_terms, guarantee_of, usual_kind
from fedpers.simulation.run import simulate, train_centrally
from fedpers.simulation.setup import Build, Setup, lay_out, matched_epochs, prepare, server_of

__all__ = [
    "Build",
    "Guarantee",
    "Keep",
    "Outcome",
    "Setup",
    "Stage",
    "check_terms",
    "guarantee_of",
    "lay_out",
    "matched_epochs",
    "prepare",
    "server_of",
    "simulate",
    "train_centrally",
    "usual_kind",
]
