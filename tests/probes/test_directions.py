"""What directions say through the head, beside transformers' own modules and numpy; how a pattern differs from a filter."""

import json

import numpy as np
import pytest
import torch

import tiny_models
from helpers import make_tokenizer
from utils.base.files import WriteTogether
from utils.data.tokenizer import token_text
from utils.model.language_model import wrap
from utils.model.unembedding import promoted_tokens
from utils.probes.directions.described import cosines, direction_entries, pattern
from utils.probes.directions.files import read_directions, write_directions
from utils.states.matrices import Matrices

# architecture -> where transformers keeps its last norm; what is added to the norm's weight; whether it centres
NORMS = {
    "llama": ("model.norm", 0, False),
    "gemma3": ("model.language_model.norm", 1, False),
    "gpt2": ("transformer.ln_f", 0, True),
    "opt": ("model.decoder.final_layer_norm", 0, True),
    "cohere": ("model.norm", 0, True),
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def with_gain(name):
    """A random model whose last norm stretches the features by 0.03 to 30 and shifts them, and that gain."""
    model = tiny_models.make(name)
    path, added, _ = NORMS[name]
    norm = model.get_submodule(path)
    gain = torch.logspace(-1.5, 1.5, 32)[torch.randperm(32, generator=torch.Generator().manual_seed(1))]
    with torch.no_grad():
        norm.weight.copy_(gain - added)
        if getattr(norm, "bias", None) is not None:
            norm.bias.copy_(torch.linspace(-1, 1, 32))
    return model, norm, gain


def ranks(model, tokenizer, directions, targets, layers=None):
    language_model = wrap(model)
    return [
        promoted_tokens(language_model, tokenizer, row[None], int(target), layers=layers)[0]["target_rank"]
        for row, target in zip(directions, targets, strict=True)
    ]


def test_logits_worked_by_hand(tokenizer):
    model = tiny_models.make("llama")
    with torch.no_grad():
        head = model.get_output_embeddings().weight.zero_()
        head[5, 0], head[7, 1], head[9, 0] = 1.0, 2.0, -1.0
        model.model.norm.weight[:2] = torch.tensor([3.0, 0.5])
    direction = torch.zeros(1, 32)
    direction[0, :2] = torch.tensor([1.0, 2.0])  # logits 3 * 1, 0.5 * 2 * 2 and -3, at size sqrt(5 / 32)
    found = promoted_tokens(wrap(model), tokenizer, direction, 7, top=2)[0]
    size = (5 / 32) ** 0.5
    assert [name for name, _ in found["promoted"]] == [token_text(tokenizer, 5), token_text(tokenizer, 7)]
    assert [value for _, value in found["promoted"]] == pytest.approx([3 / size, 2 / size], rel=1e-4)
    assert found["suppressed"][0] == [token_text(tokenizer, 9), pytest.approx(-3 / size, rel=1e-4)]
    assert (found["target_rank"], found["vocabulary"]) == (2, 97)
    every = np.zeros(97)
    every[[5, 7, 9]] = np.array([3, 2, -3]) / size
    assert found["target_score"] == pytest.approx((2 / size - every.mean()) / every.std(), rel=1e-4)


@pytest.mark.parametrize("name", NORMS)
def test_promoted_tokens_are_those_whose_logits_a_step_along_it_raises(name, tokenizer):
    model, norm, _ = with_gain(name)
    random = torch.Generator().manual_seed(2)
    direction, state = torch.randn(2, 32, generator=random)
    found = promoted_tokens(wrap(model), tokenizer, 1e3 * direction[None], 3, top=97)[0]
    norm, head = norm.double(), model.get_output_embeddings().double()
    across = direction.double() - (direction.double().mean() if NORMS[name][2] else 0)
    state = state.double() - (state.double() @ across) / (across @ across) * across  # of one size on both sides
    with torch.no_grad():
        moved = head(norm(state + direction)) - head(norm(state - direction))
    order = moved.argsort(descending=True)
    assert [text for text, _ in found["promoted"]] == [token_text(tokenizer, token) for token in order]
    ours = np.array([value for _, value in found["promoted"]])
    theirs = moved[order].numpy()
    np.testing.assert_allclose(ours / np.linalg.norm(ours), theirs / np.linalg.norm(theirs), atol=1e-5)
    assert found["suppressed"][0] == found["promoted"][-1]
    assert found["target_rank"] == int(torch.nonzero(order == 3)) + 1


@pytest.mark.parametrize("name", NORMS)
def test_a_planted_direction_promotes_its_token_and_no_other_does(name, tokenizer):
    model, _, gain = with_gain(name)
    planted = torch.randn(97, 32, generator=torch.Generator().manual_seed(3))
    planted -= planted.mean(1, keepdim=True)  # so that a norm that centres leaves them alone
    planted /= (gain * planted).norm(dim=1, keepdim=True)
    with torch.no_grad():
        model.get_output_embeddings().weight.copy_(gain * planted)  # all of length 1
    tokens = range(0, 97, 4)
    assert ranks(model, tokenizer, planted[::4], tokens) == [1] * 25
    against = ranks(model, tokenizer, -planted[::4], tokens)
    assert against == [97] * 25
    assert ranks(model, tokenizer, gain * planted[::4], tokens) != [1] * 25, "the gain must matter"
    drawn = ranks(model, tokenizer, torch.randn(200, 32, generator=torch.Generator().manual_seed(4)), [8] * 200)
    assert 30 < np.median(drawn) < 68 and np.mean(np.array(drawn) == 1) < 0.1


def test_a_direction_after_the_last_norm_passes_the_head_alone(tokenizer):
    model, _, _ = with_gain("gpt2")
    head = model.get_output_embeddings().weight
    with torch.no_grad():
        head /= head.norm(dim=1, keepdim=True)
    rows = head[10:20].clone()
    assert ranks(model, tokenizer, rows, range(10, 20), layers=["final_norm"]) == [1] * 10
    assert ranks(model, tokenizer, rows, range(10, 20)) != [1] * 10


def test_bfloat16_weights_rank_alike(tokenizer):
    model, _, _ = with_gain("opt")
    directions = torch.randn(3, 32, generator=torch.Generator().manual_seed(5))
    single = promoted_tokens(wrap(model), tokenizer, directions, 3, top=3)
    half = promoted_tokens(wrap(model.to(torch.bfloat16)), tokenizer, directions, 3, top=3)
    for one, other in zip(single, half, strict=True):
        assert [value for _, value in other["promoted"]] == pytest.approx([value for _, value in one["promoted"]], rel=0.03)
    assert model.model.decoder.final_layer_norm.weight.dtype == torch.bfloat16, "the model itself stays as it was"


def test_models_without_a_head_say_nothing_and_a_zero_direction_promotes_nothing(tokenizer):
    assert promoted_tokens(wrap(tiny_models.make("bert")), tokenizer, torch.ones(1, 32), 3) is None
    model = wrap(tiny_models.make("llama"))
    metadata = [{"target": " the", "token": 3, "layer": 2, "lag": -1, "kind": "linear", "seed": 0}]
    entry = direction_entries(model, tokenizer, metadata, torch.zeros(1, 32), torch.ones(1, 32))[0]
    assert entry["filter"]["promoted"] == [] and entry["filter"]["target_rank"] is None
    assert len(entry["pattern"]["promoted"]) == 10 and entry["pattern"]["target_rank"] >= 1
    encoder = direction_entries(wrap(tiny_models.make("bert")), tokenizer, metadata, torch.ones(1, 32), torch.ones(1, 32))
    assert encoder[0]["filter"] is None and encoder[0]["layer"] == 2


def test_rows_of_the_head_without_a_token_are_not_ranked(tokenizer):
    model = tiny_models.make("llama", vocab_size=len(tokenizer) + 60)
    with torch.no_grad():
        model.get_output_embeddings().weight[-60:] *= 1000
    found = promoted_tokens(wrap(model), tokenizer, torch.randn(1, 32, generator=torch.Generator().manual_seed(6)), 3)[0]
    assert found["vocabulary"] == len(tokenizer)
    assert max(value for _, value in found["promoted"]) < 100


def test_the_head_in_parts_is_the_head(tokenizer, monkeypatch):
    model = wrap(tiny_models.make("llama"))
    directions = torch.randn(5, 32, generator=torch.Generator().manual_seed(7))
    whole = promoted_tokens(model, tokenizer, directions, 3)
    monkeypatch.setattr("utils.model.unembedding.LOGIT_BYTES", 4 * 200)  # two directions, six tokens at a time
    parts = promoted_tokens(model, tokenizer, directions, 3)
    for one, other in zip(whole, parts, strict=True):
        assert one["target_rank"] == other["target_rank"]
        assert [name for name, _ in one["promoted"]] == [name for name, _ in other["promoted"]]


def test_a_filter_that_cancels_noise_has_the_signal_alone_for_its_pattern():
    random = np.random.default_rng(0)
    signal, noise = random.standard_normal((2, 20_000))
    states = torch.tensor(np.stack([signal + 3 * noise, 3 * noise], axis=1)[None])
    found = pattern(Matrices.of(states), torch.tensor([[1.0, -1.0]]))  # the logit is the signal: the filter is right
    np.testing.assert_allclose(found[0], [1, 0], atol=0.05)


def test_pattern_is_covariance_times_weight(monkeypatch):
    random = np.random.default_rng(1)
    states = random.standard_normal((3, 500, 8)) @ random.standard_normal((3, 8, 8)) + 1000
    states[2, :, 4] = 5.0
    weight = random.standard_normal((3, 8))
    weight[1] = 0
    monkeypatch.setattr("utils.states.matrices.CHUNK_BYTES", 4 * 3 * 8 * 70)  # 70 rows at a time
    found = pattern(Matrices.of(torch.tensor(states, dtype=torch.float32)), torch.tensor(weight)).numpy()
    for layer in (0, 2):
        covariance = np.cov(states[layer].astype(np.float32).T.astype(np.float64))
        theirs = covariance @ weight[layer] / (weight[layer] @ covariance @ weight[layer])
        np.testing.assert_allclose(found[layer], theirs, rtol=1e-4, atol=1e-7)
    assert (found[1] == 0).all()


def test_cosines_in_raw_and_in_whitened_space():
    random = np.random.default_rng(2)
    states = random.standard_normal((400, 6)) * [10, 5, 1, 1, 0.1, 0.01]
    weights = random.standard_normal((3, 6))
    raw = cosines("abc", weights)
    lengths = np.linalg.norm(weights, axis=1)
    np.testing.assert_allclose(raw["matrix"], weights @ weights.T / np.outer(lengths, lengths), atol=1e-12)
    assert raw["names"] == ["a", "b", "c"]
    white = cosines("abc", weights, np.cov(states.T))["matrix"]
    np.testing.assert_allclose(white, np.corrcoef(weights @ states.T), atol=1e-10)
    assert np.abs(np.array(white) - raw["matrix"]).max() > 0.2


def test_the_file_is_plain_json_of_short_numbers(tmp_path):
    matrix = cosines(["a", "nothing"], torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
    with WriteTogether() as files:
        about = {"target": " the", "layer": 3, "lag": -1, "kind": "linear", "seed": 0}
        entries = [{**about, "filter": {"promoted": [[" the", 1 / 3]]}}]
        write_directions(files, tmp_path / "directions.json", {"model": "m"}, entries, matrix)

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    found = json.loads((tmp_path / "directions.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert found["entries"] == [{**about, "filter": {"promoted": [[" the", 0.333333]]}}]
    assert found["cosines"] == {"names": ["a", "nothing"], "matrix": [[1.0, None], [None, None]]}
    assert (found["format"], found["version"]) == ("probe-directions", 1)
    again = read_directions(tmp_path / "directions.json")
    assert again["owner"] == {"model": "m"} and again["entries"] == found["entries"]
