"""Everything a run can be told, one validated class a concern.

The classes are the single source of the command line's flags, the TOML file's sections, the defaults and
the record a run keeps of itself. A field made with `flag` has a flag of its own name; every field, flag or
not, can be set with `--set section.field=value` or in a TOML file.
"""

from __future__ import annotations

from typing import Literal, Self, TypeVar

from pydantic import SerializeAsAny, model_validator

from fedpers.settings.section import Section, flag, option

S = TypeVar("S", bound=Section)

Split = Literal["random", "time", "common-time", "given"]
Answer = Literal["class", "text", "next-word"]


class DataSettings(Section):
    """Where people and their text come from, who takes part and how texts are split."""

    data: str = flag("synthetic", "`synthetic`, a file, a folder, or a Hugging Face data set's name.")
    format: Literal[
        "auto", "jsonl", "csv", "tsv", "parquet", "datasets", "sentiment140", "leaf", "user-product", "lamp"
    ] = flag("auto", "The source's format; `auto` goes by name and content.")
    user_column: str = flag("user_id", "Column that names the person.")
    text_column: str = flag("text", "Column that holds the text; several, parted by commas, are joined.")
    label_column: str = flag("label", "Column that holds the class; rows without one are left out.")
    answer: Answer = flag(
        "class",
        "What is predicted: the label as a class, the label as a text to be written, or each next word of "
        "the text, which then needs no label.",
    )
    task: str | None = flag(
        None, "A language model's task, one of LaMP's or of --task-file. [told from the data]"
    )
    task_file: str | None = flag(None, "A TOML file of words for the tasks' prompts, or of new tasks.")
    time_column: str | None = flag(None, "Column with the time of writing (number or ISO date).")
    dataset_split: str = option("train", "Split of a Hugging Face data set to read.")
    clients: int | None = flag(
        None,
        "People who take part, the first in a seeded order. [1100 if synthetic, else all; of LaMP's the 100 "
        "with the longest history]",
        ge=1,
    )
    public_people: int | None = flag(
        None,
        "Further people whose text trains the vocabulary and base. [200 if synthetic, else 0; of LaMP's all "
        "others]",
        ge=0,
    )
    public_data: str | None = flag(
        None, "Another source, whose people are the public ones, but for those who are clients here."
    )
    held_out_people: int | None = flag(
        None, "Further people kept for the unseen-user test. [100 if synthetic, else 0]", ge=0
    )
    min_samples: int = flag(3, "Leave out people with fewer samples (a split needs 3).", ge=3)
    max_samples: int | None = flag(None, "Keep at most so many samples a person, the first ones.", ge=3)
    drop_empty: bool = flag(False, "Leave out rows with an empty text instead of stopping.")
    skewed: float | None = flag(
        None, "Keep only people with at least this share of one label, in [0, 1].", ge=0, le=1
    )
    most_active: int | None = flag(None, "Keep only so many people, those with the most samples.", ge=1)
    rating_bins: str | None = flag(
        None, "Make classes of numbers by their upper bounds: 3,4 parts up to 3, up to 4 and above."
    )
    hashtags: int | None = flag(
        None,
        "Recommend hashtags: the classes are so many, the most frequent in the label column, or where there "
        "is no such column in the texts.",
        ge=2,
    )
    irrelevant: int | None = option(
        None,
        "Leave of each client's history so many items, those least like the test texts (a study of shifted "
        "behaviour, for oppu).",
        ge=1,
    )
    split: Split | None = flag(
        None,
        "How each person's samples are parted 0.8/0.1/0.1: `random`, seeded; `time`, the latest for testing; "
        "`common-time` tests everyone from the same moment on, 0.8 of all samples lying before it; `given` "
        "tests on the source's own test part, as LaMP and LEAF have it. [given if LaMP's, else random]",
    )


class SyntheticSettings(Section):
    """The made-up people who disagree; see fedpers/data/synthetic.py for the rule."""

    samples_per_person: int = option(51, "Texts a person writes (Sentiment140's mean is 51).", ge=3)
    text_words: int = option(12, "Words in a text.", ge=1)
    agreed_words: int = option(300, "Words everyone reads alike.", ge=2)
    contested_words: int = option(20, "Words the two camps read in opposite ways.", ge=2)
    tilt: float = option(0.6, "Share of the contested words that the first camp likes.", ge=0, le=1)
    plain_words: int = option(2000, "Words that say nothing about the label.", ge=1)
    agreed_share: float = option(0.15, "Share of a text's words that are agreed, in [0, 1].", ge=0, le=1)
    contested_share: float = option(0.5, "Share of a text's words that are contested.", ge=0, le=1)
    strength: float = option(1.5, "Log-odds that one opinion word adds to the label.", gt=0)
    lean: float = option(0.5, "Standard deviation of a person's own log-odds.", ge=0)

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        total = self.agreed_share + self.contested_share
        if total > 1:
            raise ValueError(f"agreed_share + contested_share is {total:g}, more than 1: lower one of them")
        return self


class ModelSettings(Section):
    """The model every device starts from."""

    model: str = flag("tiny", "`tiny` (built in), a local folder, or a Hugging Face model's name.")
    max_tokens: int | None = flag(
        None, "Longest input in tokens, identifier and special tokens included. [the model's limit]", ge=4
    )
    answer_tokens: int = option(64, "Longest answer of a language model, in tokens, its end included.", ge=2)
    candidates: int = option(
        1, "Answers a language model gives to each text, found by as many beams; the first one counts.", ge=1
    )
    sample: bool = option(False, "Draw a language model's words instead of taking the likeliest.")
    temperature: float = option(1.0, "Temperature of that draw.", gt=0)
    top_k: int = option(0, "Words that are drawn from at each step; 0 for all.", ge=0)
    top_p: float = option(1.0, "Share of probability that is drawn from at each step.", gt=0, le=1)
    layers: int | None = flag(
        None, "Layers of a model with random weights. [tiny: 1, as a language model 2]", ge=1
    )
    hidden_size: int | None = flag(
        None, "Width of a model with random weights. [tiny: 64, as a language model 128]", ge=4
    )
    heads: int | None = flag(None, "Attention heads of a model with random weights. [4 for tiny]", ge=1)
    dropout: float | None = option(
        None, "Dropout in the model's layers. [0 for tiny, else the model's own]", ge=0, lt=1
    )
    precision: Literal["float32", "bfloat16"] = option(
        "float32", "What products of matrices are computed in; weights stay float32."
    )
    vocabulary: int = option(8000, "Largest vocabulary of the tiny model, in entries.", ge=100)


class FederationSettings(Section):
    """What the server does in each round."""

    rounds: int = flag(800, "Rounds of federated training.", ge=1)
    clients_per_round: int = flag(12, "Devices that train in a round.", ge=1)
    strategy: str = flag("fedadam", "Flower's fedavg, fedavgm, fedadam, fedadagrad or fedyogi.")
    server_lr: float = flag(3e-3, "Server's learning rate.", gt=0)
    server_schedule: Literal["constant", "linear", "cosine"] = flag(
        "constant", "How the server's learning rate falls to 0 over the rounds."
    )
    server_momentum: float = option(0.9, "Momentum of fedavgm; beta_1 of fedadam and fedyogi.", ge=0, lt=1)
    server_beta_2: float = option(0.99, "Second-moment decay of fedadam and fedyogi.", ge=0, lt=1)
    server_tau: float = option(1e-8, "Adaptivity (tau) of fedadam, fedadagrad and fedyogi.", gt=0)
    dropout_rate: float = flag(
        0.0, "Share of a round's devices that never reply, drawn anew each round, in [0, 1).", ge=0, lt=1
    )
    allow_dropout: bool = flag(False, "Leave out a device that fails instead of ending the run.")
    border_threshold: int = option(
        1, "Fewest devices whose anonymous records may reach the server together.", ge=1
    )
    eval_clients: int | None = flag(
        None, "Score only so many clients, the first in the seeded order. [all]", ge=1
    )
    eval_every: int = flag(100, "Rounds between two looks at the validation texts.", ge=1)


class LocalSettings(Section):
    """How one device trains in one round."""

    local_epochs: int = flag(1, "Passes over a device's own texts in a round.", ge=1)
    local_steps: int | None = flag(None, "Stop a device after so many batches. [after its epochs]", ge=1)
    batch_size: int = flag(64, "Samples in a device's batch.", ge=1)
    local_lr: float = flag(0.1, "A device's learning rate.", gt=0)
    local_optimizer: Literal["sgd", "adam", "adamw"] = flag("sgd", "A device's optimizer, fresh each round.")
    local_momentum: float = option(0.0, "Momentum of sgd.", ge=0, lt=1)
    local_weight_decay: float = option(0.0, "Weight decay of a device's optimizer.", ge=0)
    local_clip: float | None = option(None, "Largest L2 norm of a device's gradient in a step.", gt=0)
    local_warmup_share: float | None = option(
        None, "Share of a device's steps over which its rate rises, then to fall. [constant]", ge=0, le=1
    )
    micro_batch_size: int | None = option(
        None, "Samples of a batch that go through the model at once. [all]", ge=1
    )


class CentralSettings(Section):
    """How pooled text is trained on: the base before the first round, and the central control."""

    base_epochs: int = flag(3, "Epochs on the public people's text before the first round.", ge=0)
    central_epochs: int | None = flag(
        None, "Epochs of central training. [as many samples as the federation sees]", ge=1
    )
    patience: int | None = flag(
        None, "End central training after so many epochs without a better validation accuracy.", ge=1
    )
    central_lr: float = flag(1e-3, "Peak learning rate (AdamW) on pooled text.", gt=0)
    central_batch_size: int = option(32, "Samples in a batch of pooled text.", ge=1)
    central_weight_decay: float = option(0.01, "AdamW's weight decay on pooled text.", ge=0)
    central_clip: float | None = option(None, "Largest L2 norm of the gradient of pooled text.", gt=0)
    warmup_share: float = option(0.1, "Share of steps over which the rate rises.", ge=0, le=1)


class PrivacySettings(Section):
    """Differential privacy: whose participation is hidden, how well, and by which mechanism."""

    dp: Literal["none", "user", "sample", "local"] = flag(
        "none",
        "Differential privacy: of `user`, all that a person contributes (devices clip what they send, noise "
        "goes on the sum); of `sample`, each text (DP-SGD on the device); `local`, noise on each embedding "
        "that is uploaded.",
    )
    epsilon: float | None = flag(
        None, "Target epsilon of the whole run, which sets the noise. [give this or --noise-multiplier]", gt=0
    )
    noise_multiplier: float | None = flag(
        None, "Standard deviation of the noise, in units of --dp-clip.", ge=0
    )
    delta: float | None = flag(
        None, "Delta of the guarantee, below 1 / people. [1e-5, or 0.1 / people if that is less]", gt=0, lt=1
    )
    dp_clip: float | None = flag(
        None,
        "Largest L2 norm of what is protected: a device's update, a text's gradient or an embedding; `inf` "
        "does not clip. [0.2 of updates, else 1]",
        gt=0,
        allow_inf_nan=True,
    )
    clipping: Literal["flat", "layer", "adaptive"] = flag(
        "flat",
        "How updates are clipped: as one vector, each parameter's array to an equal share, or to a quantile "
        "of their norms that is learned with privacy, starting from --dp-clip.",
    )
    clip_quantile: float = option(0.5, "Quantile of the norms that adaptive clipping finds.", gt=0, lt=1)
    clip_rate: float = option(0.2, "Learning rate of adaptive clipping.", gt=0)
    clip_count_noise: float | None = option(
        None,
        "Standard deviation of the noise on how many updates are below the bound. [1/20 of a round, and "
        "the noise multiplier at least]",
        gt=0,
    )
    sampling: Literal["poisson", "fixed"] = flag(
        "poisson",
        "How a private round's devices are drawn: each by a coin of its own, or always as many, which is "
        "known to hide less.",
    )
    epsilon_budget: float | None = flag(None, "End training before epsilon would pass this.", gt=0)
    noise_cohort: int | None = flag(
        None,
        "Simulate a larger federation: noise as if so many devices were in a round, and epsilon that of it.",
        ge=1,
    )
    noise_population: int | None = flag(
        None, "People of the larger federation. [clients, as many times as --noise-cohort has devices]", ge=1
    )
    accountant: Literal["prv", "rdp"] = option(
        "prv", "How epsilon is composed: privacy random variables, which is tighter, or Rényi's divergence."
    )

    @property
    def bound(self) -> float:
        """The largest L2 norm of what is protected."""
        return self.dp_clip or (0.2 if self.dp == "user" else 1.0)


class EngineSettings(Section):
    """Where and how the work is done; only the cohort's change a result, by rounding."""

    workers: int | None = flag(None, "Ray worker processes; 0 works in this process. [one a core]", ge=0)
    ray_address: str | None = flag(None, "An existing Ray cluster's address.")
    threads: int = option(1, "torch threads of a worker.", ge=1)
    state_folder: str | None = option(
        None, "Folder for personal states that every node can reach; runs may share it. [in memory]"
    )
    gpus_per_worker: float = option(
        0.0, "Share of a GPU each worker takes; above 0, models work on GPUs.", ge=0
    )
    checkpoint_every: int = flag(
        50, "Rounds between two checkpoints, from which --resume goes on; 0 writes none.", ge=0
    )
    keep_rounds: int = option(
        0, "Keep every so many rounds' aggregate in the run's folder, to be attacked; 0 keeps none.", ge=0
    )
    keep_states: bool = option(False, "Keep everyone's personal state in the run's folder, to be attacked.")
    cohort_size: int | None = option(
        None, "K, the devices trained in one pass. [what fits into cohort_memory and gains]", ge=1
    )
    cohort_memory: float = option(1.0, "Memory of the devices in one pass, in GB a worker.", gt=0)

    @property
    def device(self) -> str:
        """Where models work, as torch names it."""
        return "cuda" if self.gpus_per_worker else "cpu"


class RunSettings(Section):
    """What is run."""

    method: str = flag("user-identifier", "The method; `fedpers methods` lists them.")
    seed: int = flag(0, "Seed of every random draw.", ge=0)


class Settings(Section):
    """All settings of a run."""

    run: RunSettings = RunSettings()
    data: DataSettings = DataSettings()
    synthetic: SyntheticSettings = SyntheticSettings()
    model: ModelSettings = ModelSettings()
    federation: FederationSettings = FederationSettings()
    local: LocalSettings = LocalSettings()
    central: CentralSettings = CentralSettings()
    privacy: PrivacySettings = PrivacySettings()
    engine: EngineSettings = EngineSettings()
    own: dict[str, SerializeAsAny[Section]] = option({}, "The methods' own settings, by section name.")

    def of(self, method_settings: type[S], section: str) -> S:
        """Returns a method's own settings, its defaults where nothing was given."""
        given = self.own.get(section, method_settings())
        if not isinstance(given, method_settings):
            raise TypeError(f"section {section!r} holds {type(given).__name__}")
        return given
