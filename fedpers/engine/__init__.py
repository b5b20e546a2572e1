"""The simulation engine: people as Flower nodes, worked on in cohorts, here or on Ray."""

from fedpers.engine.checkpoints import has_checkpoint, read_checkpoint, remove_checkpoints, write_checkpoint
from fedpers.engine.crew import Crew, LocalCrew, RayCrew, hire, worker_count
from fedpers.engine.dropouts import DROPPED, Dropouts
from fedpers.engine.flower import broadcast_of, frozen_of, guard_of, quiet, reply, to_arrays, to_record
from fedpers.engine.grid import Aside, CohortGrid, aside
from fedpers.engine.memory import Notes, Numbers, recall, remind
from fedpers.engine.reduction import mean
from fedpers.engine.rounds import Round, federate, rosters
from fedpers.engine.shards import files_of, people_of, read_file, write_file, write_states
from fedpers.engine.states import LATEST, FileStates, MemoryStates, Stamp, StateStore
from fedpers.engine.tasks import spread
from fedpers.engine.worker import Order, Site, Whose, Work, Worker

__all__ = [
    "DROPPED",
    "LATEST",
    "Aside",
    "CohortGrid",
    "Crew",
    "Dropouts",
    "FileStates",
    "LocalCrew",
    "MemoryStates",
    "Notes",
    "Numbers",
    "Order",
    "RayCrew",
    "Round",
    "Site",
    "Stamp",
    "StateStore",
    "Whose",
    "Work",
    "Worker",
    "aside",
    "broadcast_of",
    "federate",
    "files_of",
    "frozen_of",
    "guard_of",
    "has_checkpoint",
    "hire",
    "mean",
    "people_of",
    "quiet",
    "read_checkpoint",
    "read_file",
    "recall",
    "remind",
    "remove_checkpoints",
    "reply",
    "rosters",
    "spread",
    "to_arrays",
    "to_record",
    "worker_count",
    "write_checkpoint",
    "write_file",
    "write_states",
]
