"""Times rounds of federated averaging in Apple's pfl-research; written for pfl 0.6.

A script of its own, run by the interpreter of an environment that has pfl, torch, transformers and numpy
but not fedpers, of which it thus imports nothing. It prints one line of JSON, the seconds of every round.
"""

# pfl joins its processes when it is first imported, and most who read this module (pytest, for one) lack it.
# ruff: noqa: PLC0415
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

SEED = 0
DISTRIBUTED = "TORCHELASTIC_RUN_ID"  # torchrun sets it, and pfl goes by it


def main() -> None:
    """Runs the workload in as many processes as asked for and prints the seconds of every round."""
    options = parse()
    if DISTRIBUTED in os.environ:
        work(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        options.out = options.out or Path(folder) / "seconds.json"
        if options.processes == 1:
            with redirect_stdout(sys.stderr):
                work(options)
        else:
            launch(options.processes, options.out)
        print(json.dumps({"seconds": json.loads(options.out.read_text())}))


def parse() -> argparse.Namespace:
    """Returns the options on the command line."""
    parser = argparse.ArgumentParser(description="Time rounds of federated averaging in pfl.")
    parser.add_argument("data", type=Path, help="npz file with ids (clients, samples, tokens) and labels")
    parser.add_argument("model", type=Path, help="folder with the config.json of a classifier")
    parser.add_argument("--clients-per-round", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--processes", type=int, default=cores(), help="as many as cores by default")
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def launch(processes: int, out: Path) -> None:
    """Runs this script once in each of some processes, joined by torchrun as pfl's guide recommends."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    # Gloo and torchrun write where they like, and standard output is for the result only.
    script = [__file__, *sys.argv[1:], f"--out={out}"]
    subprocess.run([*torchrun, str(processes), *script], stdout=sys.stderr, check=True)


def work(options: argparse.Namespace) -> None:
    """Trains in this process, which may be one of several, and writes down the seconds of every round."""
    import numpy as np
    import torch

    os.environ["PFL_PYTORCH_DEVICE"] = "cpu"
    torch.set_num_threads(max(1, cores() // options.processes))
    # pfl never sends the weights or the draw of clients to the others: all processes have to begin alike.
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    seconds = train(options, new_model(options.model), load(options.data))
    if os.environ.get("RANK", "0") == "0":
        options.out.write_text(json.dumps(seconds))


def new_model(folder: Path) -> Any:
    """Returns pfl's wrapping of a new classifier; the central optimizer's rate of 1 is plain averaging."""
    import torch
    from pfl.model.pytorch import PyTorchModel  # type: ignore[import-not-found]  # installed in an environment of its own
    from transformers import AutoConfig, AutoModelForSequenceClassification

    class Classifier(torch.nn.Module):
        """A classifier with the two methods that pfl calls."""

        def __init__(self) -> None:
            super().__init__()
            config = AutoConfig.from_pretrained(folder)
            self.inner = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]

        def loss(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            """Returns the mean cross-entropy of a batch, none of whose tokens is padding."""
            self.train()
            logits = self.inner(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            return torch.nn.functional.cross_entropy(logits, labels)

        def metrics(self, ids: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
            """Measures nothing: pfl evaluates in round 0 whatever it is told, which must cost no time."""
            return {}

    model = Classifier()
    average = torch.optim.SGD(model.parameters(), lr=1.0)
    return PyTorchModel(model, local_optimizer_create=torch.optim.SGD, central_optimizer=average)


def load(path: Path) -> Any:
    """Returns pfl's data set of the clients, who take turns in a shuffled order as pfl recommends.

    The model comes before: pfl learns from importing its model class that it is to work with torch.
    """
    import numpy as np
    import torch
    from pfl.data import FederatedDataset  # type: ignore[import-not-found]  # installed in an environment of its own
    from pfl.data.pytorch import PyTorchTensorDataset  # type: ignore[import-not-found]  # installed in an environment of its own
    from pfl.data.sampling import get_user_sampler  # type: ignore[import-not-found]  # installed in an environment of its own

    arrays = np.load(path)
    ids, labels = torch.from_numpy(arrays["ids"]), torch.from_numpy(arrays["labels"])
    turns = get_user_sampler("minimize_reuse", np.random.permutation(len(ids)).tolist())
    return FederatedDataset(lambda client: PyTorchTensorDataset((ids[client], labels[client])), turns)


def train(options: argparse.Namespace, model: Any, clients: Any) -> list[float]:
    """Runs pfl's federated averaging and returns the seconds of every round."""
    from pfl.aggregate.simulate import SimulatedBackend  # type: ignore[import-not-found]  # installed in an environment of its own
    from pfl.algorithm.base import NNAlgorithmParams  # type: ignore[import-not-found]  # installed in an environment of its own
    from pfl.algorithm.federated_averaging import FederatedAveraging  # type: ignore[import-not-found]  # installed in an environment of its own
    from pfl.hyperparam import NNTrainHyperParams  # type: ignore[import-not-found]  # installed in an environment of its own

    clock = new_clock()
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=options.rounds,
            evaluation_frequency=options.rounds,
            train_cohort_size=options.clients_per_round,
            val_cohort_size=0,
        ),
        backend=SimulatedBackend(training_data=clients, val_data=clients),
        model=model,
        model_train_params=NNTrainHyperParams(
            local_num_epochs=1, local_learning_rate=options.lr, local_batch_size=options.batch_size
        ),
        callbacks=[clock],
        send_metrics_to_platform=False,
    )
    return [after - before for before, after in zip(clock.times, clock.times[1:], strict=False)]


def new_clock() -> Any:
    """Returns a pfl callback that notes the time at the start of training and at the end of every round."""
    import torch
    from pfl.callback.base import TrainingProcessCallback  # type: ignore[import-not-found]  # installed in an environment of its own
    from pfl.metrics import Metrics  # type: ignore[import-not-found]  # installed in an environment of its own

    class Clock(TrainingProcessCallback):  # type: ignore[misc]  # pfl is unknown where types are checked
        """Notes the time."""

        def __init__(self) -> None:
            self.times: list[float] = []

        def on_train_begin(self, *, model: Any) -> Any:
            """Waits for the other processes, whose start is no part of a round, and notes the time."""
            if torch.distributed.is_initialized():
                torch.distributed.barrier()
            self.times.append(time.perf_counter())
            return Metrics()

        def after_central_iteration(self, metrics: Any, model: Any, *, central_iteration: int) -> Any:
            """Notes the time and lets training go on."""
            self.times.append(time.perf_counter())
            return False, Metrics()

    return Clock()


if __name__ == "__main__":
    main()
