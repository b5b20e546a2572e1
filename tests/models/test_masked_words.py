"""The head that guesses hidden words; the references are transformers' own masked-language models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, GPT2Config, PreTrainedModel

from fedpers.errors import InputError
from fedpers.models import (
    Examples,
    MaskedHead,
    Masking,
    Model,
    collate,
    detach,
    extract,
    groups_of,
    hide_words,
    notes_of,
    whole,
)
from fedpers.training import Plan, fit_devices
from tests.models.encoders import KINDS, Symbols, batch, config_of, encoder, prompts, texts

every_kind = pytest.mark.parametrize("kind", KINDS)
TABLE = "embeddings.word_embeddings.weight"


def pretrained(kind: str, folder: Path) -> tuple[Model, PreTrainedModel]:
    """Saves a masked-language model; returns a classifier with its weights and head, and itself."""
    torch.manual_seed(1)
    own: Any = AutoModelForMaskedLM.from_config(config_of(kind))  # type: ignore[no-untyped-call]  # theirs
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    own.save_pretrained(folder)
    module = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager")
    assert isinstance(module, PreTrainedModel)
    MaskedHead(str(folder)).attach(module)
    own.train(False)
    module.train(False)
    return Model(module, Symbols(kind), 40), own  # type: ignore[arg-type]  # enough of one


def tied(model: Model) -> bool:
    """Tells whether the head's word scores are the word embeddings themselves."""
    table = model.module.base_model.get_parameter(TABLE)
    return any(p is table for p in model.module.get_submodule("masked_words").parameters())


def loss_of(own: Any, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    loss = own(input_ids=ids, attention_mask=mask, labels=labels).loss
    assert isinstance(loss, torch.Tensor)
    return loss


def as_transformers(ids: torch.Tensor, hidden: Any) -> torch.Tensor:
    """Returns labels as transformers has them: -100 but where a word was hidden."""
    labels = torch.full_like(ids, -100)
    for row in range(len(ids)):
        for place, weight in zip(hidden.places[0, row], hidden.weights[0, row], strict=True):
            if weight > 0:
                labels[row, place] = ids[row, place]
    return labels


@pytest.mark.filterwarnings("ignore::UserWarning")
@every_kind
def test_the_loss_of_hidden_words_is_transformers_own(kind: str, tmp_path: Path) -> None:
    model, own = pretrained(kind, tmp_path)
    plain = batch(model, texts(kind, [3, 9, 6]))
    hidden = hide_words(plain, model, Masking(0.3), [7])
    expected = loss_of(own, hidden.ids[0], hidden.mask[0], as_transformers(plain.ids[0], hidden))
    scores = model.reader(masked=True)(hidden.inputs.of(0))
    each = torch.nn.functional.cross_entropy(
        scores.flatten(0, 1), hidden.labels[0].flatten(), reduction="none"
    )
    found = (each * hidden.weights[0].flatten()).sum()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), abs=1e-5)


@every_kind
def test_a_step_on_hidden_words_is_a_step_of_transformers_own_model(kind: str, tmp_path: Path) -> None:
    # By torch's SGD: tied scores and embeddings move by both their gradients.
    model, own = pretrained(kind, tmp_path)
    part = texts(kind, [3, 9, 6])
    plan = Plan("sgd", 0.5, 1, 10, masking=Masking(0.3), frozen=("head",))
    start = extract(model.module)
    [(trained, [passed])] = fit_devices(model, [start], [part], plan, [np.random.default_rng(4)])
    draw = np.random.default_rng(4)  # the order of the samples, and the key of the batch
    order, key = draw.permutation(3), int(draw.integers(2**32))
    plain = collate([(part, order)], int(str(model.tokenizer.pad_token_id)))
    hidden = hide_words(plain, model, Masking(0.3), [key])
    loss = loss_of(own, hidden.ids[0], hidden.mask[0], as_transformers(plain.ids[0], hidden))
    assert passed.loss == pytest.approx(float(loss.detach()), abs=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's
    torch.optim.SGD(own.parameters(), lr=0.5).step()
    found = whole(trained, start)
    prefix = own.base_model_prefix
    heads = [name for name, _ in own.named_children() if name != prefix]
    for name, expected in own.named_parameters():
        child, _, rest = name.partition(".")
        ours = name if child == prefix else f"masked_words.layers.{heads.index(child)}.{rest}"
        np.testing.assert_allclose(found[ours], expected.detach(), rtol=0, atol=1e-5)
    table = f"{prefix}.{TABLE}"
    assert np.abs(found[table] - start[table]).max() > 1e-3


@every_kind
def test_word_scores_are_tied_to_the_embeddings_and_stay_so(kind: str) -> None:
    model = encoder(kind, MaskedHead())
    assert tied(model)
    part, plan = texts(kind, [5, 6]), Plan("sgd", 0.1, 1, 2, masking=Masking())
    draws = [np.random.default_rng(1), np.random.default_rng(2)]
    start = extract(model.module)
    found = fit_devices(model, [start, start], [part, part], plan, draws)
    assert tied(model)
    decoders = [name for name in start if "decoder.weight" in name or "lm_head.weight" in name]
    assert decoders == []  # one table, under one name, is trained and sent
    assert all(trained.keys() == start.keys() for trained, _ in found)


@every_kind
def test_a_stack_on_hidden_words_equals_each_device_alone(kind: str) -> None:
    model = encoder(kind, prompts("prefix", inner=4), MaskedHead(), dropout=0.1)
    parts = [texts(kind, lengths, seed=n) for n, lengths in enumerate(([3, 9, 6], [4], [2, 2, 5, 7, 1]))]
    plan = Plan("adamw", 1e-3, 2, 2, clip=0.5, masking=Masking(0.3), frozen=("head", "own"))
    start = extract(model.module)

    def fitted(devices: list[int]) -> list[dict[str, Any]]:
        draws = [np.random.default_rng([5, device]) for device in devices]
        starts = [start] * len(devices)
        found = fit_devices(model, starts, [parts[device] for device in devices], plan, draws)
        return [whole(trained, start) for trained, _ in found]

    for device, together in enumerate(fitted([0, 1, 2])):
        [alone] = fitted([device])
        assert max(float(np.abs(together[name] - alone[name]).max()) for name in start) < 1e-5


@every_kind
def test_the_head_is_a_group_of_its_own_and_can_be_taken_away(kind: str) -> None:
    model = encoder(kind, MaskedHead())
    plain = encoder(kind)
    groups = groups_of(model.module)
    assert {name for name, group in groups.items() if group == "masked_words"} == {
        name for name in groups if name.startswith("masked_words.")
    }
    detach(model.module)
    assert extract(model.module).keys() == extract(plain.module).keys()


@every_kind
def test_a_trained_head_needs_no_note(kind: str, tmp_path: Path) -> None:
    assert notes_of(pretrained(kind, tmp_path)[0].module) == []


@every_kind
def test_a_head_that_had_to_be_made_up_is_told(kind: str, tmp_path: Path) -> None:
    encoder(kind).module.save_pretrained(tmp_path)
    module = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert isinstance(module, PreTrainedModel)
    MaskedHead(str(tmp_path)).attach(module)
    [note] = notes_of(module)
    assert note == f"{tmp_path} has no trained head for masked words: it starts from a random one"


def test_a_decoder_is_refused() -> None:
    config = GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=1)
    module = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]  # theirs
    with pytest.raises(InputError, match=r"gpt2 is none: use such a --model, or tiny with --answer class$"):
        MaskedHead().attach(module)


@every_kind
def test_the_task_is_scored_as_without_the_head(kind: str) -> None:
    model, plain = encoder(kind, MaskedHead()), encoder(kind)
    plain.module.load_state_dict({n: t for n, t in model.module.state_dict().items() if "masked" not in n})
    read = batch(model, texts(kind, [3, 6])).inputs.of(0)
    assert torch.equal(model.reader()(read), plain.reader()(read))


def test_examples_of_one_token_can_be_guessed() -> None:
    model = encoder("bert", MaskedHead())
    part = Examples([[2, 9, 3]], np.array([0]))
    hidden = hide_words(batch(model, part), model, Masking(), [0])
    assert hidden.labels.tolist() == [[[9]]]
    assert model.reader(masked=True)(hidden.inputs.of(0)).shape == (1, 1, 120)
