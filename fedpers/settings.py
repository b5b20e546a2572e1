"""Everything a run can be told, one validated class a concern.

The classes are the single source of the command line's flags, the TOML file's sections, the defaults and
the record a run keeps of itself. A field made with `flag` has a flag of its own name; every field, flag or
not, can be set with `--set section.field=value` or in a TOML file.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator
from pydantic.fields import FieldInfo

from fedpers.errors import InputError, unknown


class Section(BaseModel):
    """One concern's settings: immutable, strict about names and ranges."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


S = TypeVar("S", bound=Section)


def flag(default: Any, help: str, **rules: Any) -> Any:
    """Declares a setting that has a flag on the command line; `rules` are pydantic's (ge, gt, ...)."""
    return Field(default, description=help, json_schema_extra={"flag": True}, **rules)


def is_flag(info: FieldInfo) -> bool:
    """Tells whether a setting has a flag of its own."""
    extra = info.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("flag"))


def option(default: Any, help: str, **rules: Any) -> Any:
    """Declares a setting reached by `--set` or a TOML file only."""
    return Field(default, description=help, **rules)


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


class EngineSettings(Section):
    """Where and how the work is done; only the cohort's change a result, by rounding."""

    workers: int | None = flag(None, "Ray worker processes; 0 works in this process. [one a core]", ge=0)
    ray_address: str | None = flag(None, "An existing Ray cluster's address.")
    threads: int = option(1, "torch threads of a worker.", ge=1)
    state_folder: str | None = option(
        None, "Folder for personal states that every node can reach. [in memory]"
    )
    gpus_per_worker: float = option(
        0.0, "Share of a GPU each worker takes; above 0, models work on GPUs.", ge=0
    )
    checkpoint_every: int = flag(
        50, "Rounds between two checkpoints, from which --resume goes on; 0 writes none.", ge=0
    )
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
    engine: EngineSettings = EngineSettings()
    own: dict[str, SerializeAsAny[Section]] = option({}, "The methods' own settings, by section name.")

    def of(self, method_settings: type[S], section: str) -> S:
        """Returns a method's own settings, its defaults where nothing was given."""
        given = self.own.get(section, method_settings())
        if not isinstance(given, method_settings):
            raise TypeError(f"section {section!r} holds {type(given).__name__}")
        return given


def all_sections(own_sections: Mapping[str, type[Section]]) -> dict[str, type[Section]]:
    """Returns the classes of all sections, every run's and the methods' own, by section name."""
    core = {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
    return core | dict(own_sections)


def resolve(
    layers: Iterable[Mapping[str, Any]], own_sections: Mapping[str, type[Section]] = MappingProxyType({})
) -> Settings:
    """Merges layers of settings over the defaults, later ones over earlier ones.

    Args:
        layers: Nested as in a TOML file: section -> field -> value.
        own_sections: The classes of the methods' own sections, by section name.

    Raises:
        InputError: An unknown name or a value that breaks a rule, with the nearest valid one.
    """
    classes = all_sections(own_sections)
    merged: dict[str, dict[str, Any]] = {name: {} for name in classes}
    for layer in layers:
        for name, fields in layer.items():
            if name not in classes:
                raise unknown("section of settings", name, classes)
            if not isinstance(fields, Mapping):
                raise InputError(
                    f"{name} is a section: set one of its fields, as in {_example(name, classes)}"
                )
            merged[name].update(fields)
    built = {name: _build(name, classes[name], fields) for name, fields in merged.items()}
    own = {name: built.pop(name) for name in own_sections}
    return Settings.model_validate({**built, "own": own})


def _example(section: str, classes: Mapping[str, type[Section]]) -> str:
    return f"{section}.{next(iter(classes[section].model_fields))}=..."


def _build(section: str, kind: type[S], given: Mapping[str, Any]) -> S:
    for name in given:
        if name not in kind.model_fields:
            raise unknown(
                "setting", f"{section}.{name}", [f"{section}.{field}" for field in kind.model_fields]
            )
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # a rule between several settings
            raise InputError(f"{section}: {first['msg'].removeprefix('Value error, ')}") from None
        field = str(first["loc"][0])
        shown = f"--{field.replace('_', '-')}" if is_flag(kind.model_fields[field]) else f"{section}.{field}"
        rule = first["msg"]
        raise InputError(
            f"{shown} {first['input']!r}: {rule[0].lower()}{rule[1:]}{_nearest(first)}"
        ) from None


def _nearest(error: Mapping[str, Any]) -> str:
    """Returns the nearest valid value of a broken rule, where there is one to tell."""
    context = error.get("ctx", {})
    if "expected" in context:
        choices = re.findall(r"'([^']+)'", context["expected"])
        near = difflib.get_close_matches(str(error["input"]), choices, n=1, cutoff=0.4)
        return f" (did you mean {near[0]!r}?)" if near else ""
    bound = context.get("ge", context.get("le"))
    return f" (nearest: {bound:g})" if bound is not None else ""


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file of settings."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a TOML file: {error}") from error


def parse_assignment(text: str) -> dict[str, Any]:
    """Turns `section.field=value` into a layer; the value is read as TOML, or else as plain text.

    >>> parse_assignment("local.local_lr=0.3")
    {'local': {'local_lr': 0.3}}
    >>> parse_assignment("model.model=bert-base-uncased")
    {'model': {'model': 'bert-base-uncased'}}
    """
    name, equals, value = text.partition("=")
    section, dot, field = name.strip().partition(".")
    if not (equals and section and dot and field):
        raise InputError(
            f"--set takes section.field=value, not {text!r}, as in --set local.local_momentum=0.9"
        )
    try:
        parsed: Any = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    return {section: {field: parsed}}


def to_toml(settings: Settings) -> str:
    """Returns settings as a TOML text from which `resolve` makes the same ones."""
    sections = settings.model_dump()
    lines = [
        f"{section}.{field} = {json.dumps(value)}"  # JSON's numbers, strings and booleans are TOML's too
        for section, fields in {**sections.pop("own"), **sections}.items()
        for field, value in fields.items()
        if value is not None
    ]
    return "\n".join(lines) + "\n"
