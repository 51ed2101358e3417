"""What a spliced sparse autoencoder costs: against transformers' own loss, torch's kl_div, and hooks written by hand."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from pyarrow.parquet import read_table
from torch.nn.functional import kl_div

import small_architectures
import tiny_models
from helpers import ROOT
from utils.base.errors import UserError
from utils.data.sequences import unlabelled_sequences
from utils.data.tokenizer import load_tokenizer
from utils.model.language_model import LanguageModel, load_language_model, wrap
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.evaluation import splicing
from utils.sae.evaluation.reconstruction import measure
from utils.sae.evaluation.results import evaluate
from utils.sae.evaluation.splicing import Cost, spliced, spread, why_no_cost
from utils.states.forward_pass import Pass, inputs_to, read_batches, watching
from utils.states.positions import ReadPlan
from utils.states.sites import every_layer

CAUSAL = ["llama", "gemma2", "gemma3", "cohere", "opt", "gpt2", "gptj", "bloom", "falcon", "mpt"]
LENGTHS = (11, 17, 6, 14)
HIDDEN = 32
LAYER = 2


def identity(layer, hidden=HIDDEN, **about):
    """Two latents a dimension, one for each sign, and no bias: bit for bit what it is given."""
    eye = torch.cat([torch.eye(hidden), -torch.eye(hidden)])
    zeros = torch.zeros(2 * hidden)
    return SparseAutoencoder(eye, zeros, eye, torch.zeros(hidden), zeros, {"layer": layer, **about})


def silent(layer, bias, hidden=HIDDEN):
    """No latent is ever active: each state becomes `bias`."""
    whole = identity(layer, hidden)
    changed = {"threshold": torch.full((2 * hidden,), 1e9), "decoder_bias": torch.as_tensor(bias).expand(hidden).float()}
    return SparseAutoencoder(**{**whole.tensors, **changed}, about=whole.about)


def random_autoencoder(layer, hidden=HIDDEN, seed=0):
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.nn.functional.normalize(torch.randn(64, hidden, generator=generator), dim=1)
    zeros = torch.zeros(64)
    return SparseAutoencoder(decoder.clone(), zeros, decoder, torch.zeros(hidden), zeros + 0.5, {"layer": layer})


@pytest.fixture(scope="module")
def sequences():
    return tiny_models.framed(LENGTHS)


@pytest.fixture(scope="module")
def plan(sequences):
    return tiny_models.every_text_token(sequences)


@pytest.fixture(scope="module")
def llama():
    return wrap(tiny_models.make("llama"))


def whole_batch(sequences):
    mask = np.arange(sequences.input_ids.shape[1]) < sequences.lengths[:, None]
    return torch.from_numpy(sequences.input_ids).long(), torch.from_numpy(mask).long()


# The place: what is put where a state is read


@pytest.mark.parametrize("name", CAUSAL)
@torch.inference_mode()
def test_a_state_in_its_own_place_changes_no_logit_and_another_one_does(name, sequences):
    language_model = wrap(tiny_models.make(name))
    given = inputs_to(language_model, *whole_batch(sequences))
    before = language_model.model(**given).logits
    for layer in every_layer(language_model.anatomy):
        seen = []

        def same(_layer, state, seen=seen):
            seen.append(state)
            return state.clone()

        shape = tuple(given["input_ids"].shape)
        with watching(language_model.anatomy, [layer], same, shape, ends=False):
            after = language_model.model(**given).logits
        assert torch.equal(before, after) and len(seen) == 1, layer
        with watching(language_model.anatomy, [layer], lambda _layer, state: state.flip(-1), shape, ends=False):
            after = language_model.model(**given).logits
        assert (before - after).abs().max() > 1e-3, layer
    assert torch.equal(before, language_model.model(**given).logits), "the hooks are gone"


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@torch.inference_mode()
def test_blocks_go_on_from_what_is_put_there(name, sequences):
    """The states of the next layer are those of the block, run by itself on the other states."""
    language_model = wrap(tiny_models.make(name))
    given = inputs_to(language_model, *whole_batch(sequences))
    shape, found = tuple(given["input_ids"].shape), {}
    blocks = language_model.anatomy.blocks
    hook = blocks[1].register_forward_pre_hook(
        lambda _module, inputs, keywords: found.update(entered=inputs[0] if inputs else keywords["hidden_states"]),
        with_kwargs=True,
    )
    other = torch.randn(*shape, HIDDEN)
    with watching(language_model.anatomy, [0], lambda _layer, _state: other, shape, ends=False):
        language_model.model(**given)
    hook.remove()
    assert torch.equal(found["entered"], other)


def gemma3n():
    return wrap(small_architectures.build("gemma3n_text"))


def test_one_of_several_streams_is_refused_by_name(sequences, plan):
    language_model = gemma3n()
    assert "layer 1 has several streams" in why_no_cost(language_model, [1])
    with pytest.raises(UserError, match=r"cost model cannot be measured: layer 1 has several streams"):
        spliced(Pass(language_model, sequences, plan, 8), [identity(1)])


def test_models_without_predictions_say_why(sequences, plan):
    headless = wrap(tiny_models.make("llama").model)
    assert why_no_cost(headless, [0]) == "it has no language-model head"
    assert why_no_cost(wrap(tiny_models.make("bert")), [0]) == "it has no language-model head"
    assert why_no_cost(wrap(tiny_models.make("llama")), ["embed", 0, "final_norm"]) == ""
    with pytest.raises(UserError, match="no language-model head"):
        spliced(Pass(headless, sequences, plan, 8), [identity(0)])
    with pytest.raises(UserError, match="layers 0 to 3"):
        spliced(Pass(wrap(tiny_models.make("llama")), sequences, plan, 8), [identity(9)])


# The figures, by other ways


def labels_of(sequences, plan):
    """Of a forward of the whole batch: the tokens whose prediction counts, -100 elsewhere, as transformers' losses take."""
    ids, _ = whole_batch(sequences)
    labels = torch.full_like(ids, -100)
    for sequence, position in zip(plan.sequence, plan.position, strict=True):
        if position + 1 < sequences.lengths[sequence]:
            labels[sequence, position + 1] = ids[sequence, position + 1]
    return labels


@contextmanager
def by_hand(model, plan, value):
    """Put `value` at the plan's positions into what block LAYER of a Llama gives, with a hook of its own."""

    def change(_module, _inputs, output):
        changed = output.clone()
        changed[plan.sequence, plan.position] = value
        return changed

    hook = model.model.layers[LAYER].register_forward_hook(change)
    yield
    hook.remove()


@torch.no_grad()
def run(model, sequences, plan):
    """(transformers' own loss, logits [predictions, vocabulary])."""
    ids, mask = whole_batch(sequences)
    labels = labels_of(sequences, plan)
    output = model(ids, attention_mask=mask, labels=labels)
    return output.loss.item(), output.logits[:, :-1][labels[:, 1:] != -100]


def test_cross_entropy_and_divergence_are_transformers_own_with_hooks_by_hand(llama, sequences, plan):
    model, autoencoder = llama.model, random_autoencoder(LAYER)
    (cost,) = spliced(Pass(llama, sequences, plan, 8), [autoencoder])
    loss, own = run(model, sequences, plan)
    assert cost.clean == pytest.approx(loss, rel=1e-5) and cost.replaced == len(plan)
    assert cost.tokens == len(own) == len(plan), "the token at the end of each text has one after it"
    ids, mask = whole_batch(sequences)
    with torch.no_grad():
        states = model(ids, attention_mask=mask, output_hidden_states=True).hidden_states[LAYER + 1]
    states = states[plan.sequence, plan.position]
    values = {"spliced": autoencoder.decode(autoencoder.encode(states)), "zeroed": 0.0, "averaged": states.mean(0)}
    for name, value in values.items():
        with by_hand(model, plan, value):
            loss, logits = run(model, sequences, plan)
        assert getattr(cost, name) == pytest.approx(loss, rel=1e-5), name
        divergence = kl_div(logits.log_softmax(1), own.log_softmax(1), log_target=True, reduction="batchmean")
        assert getattr(cost, f"kl_{name}") == pytest.approx(divergence.item(), rel=1e-4), name
    assert len({round(getattr(cost, name), 6) for name in ("clean", *values)}) == 4, "four different figures"


def test_what_is_recovered():
    cost = Cost(1, 1, clean=2.0, spliced=2.5, zeroed=7.0, averaged=4.0, kl_spliced=0, kl_zeroed=0, kl_averaged=0)
    assert (cost.recovered, cost.recovered_over_mean) == (0.9, 0.75)
    useless = replace(cost, zeroed=1.9)
    assert np.isnan(useless.recovered), "where zeroing costs nothing there is nothing to recover"


@pytest.mark.parametrize("layer", ["embed", 0, 3, "final_norm"])
def test_the_identity_costs_nothing_and_a_silent_one_what_ablations_cost(llama, sequences, plan, layer):
    costs = spliced(Pass(llama, sequences, plan, 8), [identity(layer), silent(layer, 0.0), random_autoencoder(layer)])
    whole, dead, chance = costs
    assert whole.spliced == whole.clean and whole.kl_spliced == 0 and whole.zeroed != whole.clean
    assert dead.spliced == dead.zeroed and dead.kl_spliced == dead.kl_zeroed > 0
    assert len({(cost.clean, cost.zeroed, cost.averaged) for cost in costs}) == 1
    assert chance.spliced not in (whole.spliced, dead.spliced)


def test_sparse_autoencoders_of_several_layers_come_back_in_their_order(llama, sequences, plan):
    autoencoders = [random_autoencoder(layer, seed=seed) for layer, seed in ((3, 0), ("embed", 1), (3, 2), (0, 3))]
    together = spliced(Pass(llama, sequences, plan, 8), autoencoders)
    alone = [spliced(Pass(llama, sequences, plan, 8), [one])[0] for one in autoencoders]
    assert together == alone and len({cost.spliced for cost in alone}) == 4


def test_batches_and_the_size_of_the_vocabulary_change_nothing(llama, sequences, plan, monkeypatch):
    autoencoders = [random_autoencoder(0), random_autoencoder(3)]
    together = spliced(Pass(llama, sequences, plan, 8), autoencoders)
    monkeypatch.setattr(splicing, "LOGIT_BYTES", 16 * llama.vocabulary * 3)
    for one, other in zip(together, spliced(Pass(llama, sequences, plan, 3), autoencoders), strict=True):
        for name, value in vars(one).items():
            assert value == pytest.approx(getattr(other, name), rel=1e-5), name


def test_a_token_that_the_head_rules_out_is_no_divergence(llama, sequences, plan):
    """log 0 - log 0 is no number, though such a token adds nothing."""
    (before,) = spliced(Pass(llama, sequences, plan, 8), [random_autoencoder(0)])
    never = torch.tensor([95])
    hook = llama.model.lm_head.register_forward_hook(lambda _module, _in, output: output.index_fill(-1, never, -torch.inf))
    (after,) = spliced(Pass(llama, sequences, plan, 8), [random_autoencoder(0)])
    hook.remove()
    assert 0 < after.kl_spliced < np.inf and after.kl_spliced != before.kl_spliced and after.clean < before.clean


# What is left out


def test_positions_outside_the_plan_keep_their_states_and_are_not_asked(llama, sequences, plan):
    half = ReadPlan(plan.sequence[::2], plan.position[::2])
    (cost,) = spliced(Pass(llama, sequences, half, 8), [silent(LAYER, 0.0)])
    with by_hand(llama.model, half, 0.0):
        loss, logits = run(llama.model, sequences, half)
    assert cost.spliced == pytest.approx(loss, rel=1e-5) and cost.tokens == len(logits) == len(half)


def test_states_of_a_larger_norm_keep_their_own(llama, sequences, plan):
    ids, mask = whole_batch(sequences)
    with torch.no_grad():
        states = llama.model(ids, attention_mask=mask, output_hidden_states=True).hidden_states[LAYER + 1]
    norms = states[plan.sequence, plan.position].norm(dim=1)
    limit = float(norms.median())
    (cost,) = spliced(Pass(llama, sequences, plan, 8), [silent(LAYER, 0.0)], largest_norm={LAYER: limit})
    small = (norms <= limit).numpy()
    assert cost.replaced == small.sum() and 0 < small.sum() < len(plan)
    with by_hand(llama.model, ReadPlan(plan.sequence[small], plan.position[small]), 0.0):
        loss, _ = run(llama.model, sequences, plan)
    assert cost.spliced == pytest.approx(loss, rel=1e-5) and cost.tokens == len(plan)
    (none,) = spliced(Pass(llama, sequences, plan, 8), [silent(LAYER, 0.0)], largest_norm={LAYER: 0.0})
    assert none.replaced == 0 and none.spliced == none.clean == none.averaged and np.isnan(none.recovered)


def test_sequences_are_spread_over_all_of_them():
    plan = ReadPlan(np.repeat(np.arange(0, 200, 2), 10), np.tile(np.arange(10), 100))
    chosen = spread(plan, 100)
    assert len(chosen) == 10 and chosen[0] == 0 and chosen[-1] == 198 and (np.diff(chosen) >= 20).all()
    assert len(spread(plan, 1)) == 1 and len(spread(plan, 10**9)) == 100


def test_few_tokens_are_those_of_whole_sequences(llama, sequences, plan):
    (cost,) = spliced(Pass(llama, sequences, plan, 8), [identity(0)], most_tokens=20)
    per_sequence = np.bincount(plan.sequence)
    assert cost.tokens == per_sequence[spread(plan, 20)].sum() < len(plan)


def test_a_batch_that_does_not_fit_is_halved(sequences, plan, monkeypatch, capsys):
    language_model: LanguageModel = wrap(tiny_models.make("llama"))
    expected = spliced(Pass(language_model, sequences, plan, 8), [random_autoencoder(0)])
    real = splicing.final_states

    def crowded(language_model, batch, *rest):
        if len(batch.input_ids) > 1:
            raise torch.OutOfMemoryError
        return real(language_model, batch, *rest)

    monkeypatch.setattr(splicing, "final_states", crowded)
    found = spliced(Pass(language_model, sequences, plan, 4), [random_autoencoder(0)])
    assert found[0].spliced == pytest.approx(expected[0].spliced, rel=1e-5) and found[0].tokens == expected[0].tokens
    assert "going on with 1" in capsys.readouterr().out


# A real model


def test_in_a_real_model_the_identity_recovers_all_and_chance_little(stories260K, gutenberg):
    language_model = load_language_model(str(stories260K), device="cpu")
    tokenizer = load_tokenizer(str(stories260K))
    text = read_table(gutenberg / "data/en-00000-of-00001.parquet")["text"][0].as_py()[20_000:50_000]
    ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"])[: 40 * 128].reshape(40, 128)
    sequences = unlabelled_sequences(list(ids), ([tokenizer.bos_token_id], []))
    plan = ReadPlan(*np.nonzero(np.broadcast_to(np.arange(129) > 0, (40, 129))))
    hidden = language_model.anatomy.hidden_size
    for layer in (0, 4):
        autoencoders = [make(layer, hidden=hidden) for make in (identity, random_autoencoder)]
        whole, chance, dead = spliced(
            Pass(language_model, sequences, plan, 16), [*autoencoders, silent(layer, 0.0, hidden)], most_tokens=3000
        )
        assert whole.recovered == 1 and dead.recovered == 0 and whole.averaged != whole.zeroed
        assert chance.recovered < 0.5 and whole.zeroed - whole.clean > 1
        assert 2800 < whole.tokens < 3200 and whole.replaced > whole.tokens


@pytest.mark.slow
def test_all_that_is_measured_of_a_model_at_once():
    """With the demo model: each figure beside the same sparse autoencoder asked alone."""
    language_model = load_language_model(str(ROOT / "demo/model"), device="cpu")
    hidden = language_model.anatomy.hidden_size
    sequences = tiny_models.sequences_of([40] * 30, vocabulary=2000)
    plan = ReadPlan(*np.nonzero(np.broadcast_to(np.arange(40) > 0, (30, 40))), layers=(0, 5))
    read: dict = {0: [], 5: []}
    for layer, _, states in read_batches(Pass(language_model, sequences, plan, 8)):
        read[layer].append(states)
    held_out, train = ({layer: parts[half::2] for layer, parts in read.items()} for half in (0, 1))
    autoencoders = [identity(5, hidden), random_autoencoder(0, hidden), random_autoencoder(5, hidden)]
    run = Pass(language_model, sequences, plan, 8)
    found = evaluate(
        run, autoencoders, lambda split, layer: lambda: iter({"train": train, "held_out": held_out}[split][layer])
    )
    assert [each.autoencoder for each in found] == autoencoders
    whole, other, chance = found
    assert whole.reconstruction.fvu < 1e-9 and whole.cost.spliced == whole.cost.clean
    for one in (other, chance):
        layer = one.autoencoder.about["layer"]
        (alone,) = measure([one.autoencoder], lambda: iter(held_out[layer]), lambda: iter(train[layer]))  # noqa: B023
        assert alone.fvu == one.reconstruction.fvu > 0.5 and alone.pca_fvu == one.reconstruction.pca_fvu
        assert spliced(run, [one.autoencoder])[0].spliced == one.cost.spliced
    (headless,) = evaluate(
        replace(run, model=wrap(language_model.body)), autoencoders[:1], lambda split, layer: lambda: iter(held_out[layer])
    )
    assert headless.cost is None and headless.why_no_cost == "it has no language-model head"
