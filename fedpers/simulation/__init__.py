"""One method from data to scores: federated over simulated devices, or central as the control."""

from fedpers.simulation.desk import Keep
from fedpers.simulation.outcome import Outcome, Stage
from fedpers.simulation.run import simulate, train_centrally
from fedpers.simulation.setup import Build, Setup, lay_out, matched_epochs, prepare

__all__ = [
    "Build",
    "Keep",
    "Outcome",
    "Setup",
    "Stage",
    "lay_out",
    "matched_epochs",
    "prepare",
    "simulate",
    "train_centrally",
]
