"""Pooled and whole-sequence readings against a plain computation from transformers' own output_hidden_states."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import tiny_models
from tiny_models import BEFORE, LENGTHS, close, every_text_token, framed
from utils.base.files import fingerprint
from utils.model.language_model import wrap
from utils.states import gathering
from utils.states.extraction import Reading, States, drop_non_finite, run_pass
from utils.states.forward_pass import OWN_LOGITS, Pass, forward, read_batches
from utils.states.gathering import pooled
from utils.states.positions import Examples, Question, ReadPlan, examples_at, text_before, whole_sequences
from utils.states.store import collect_in_memory, collect_on_disk, find_folder

LAYERS = ["embed", 0, 2]
POOLS = {"mean": lambda states: states.mean(0), "max": lambda states: states.amax(0), "last": lambda states: states[-1]}


def read(language_model, sequences, plan, batch_size=8, layers=LAYERS):
    """[layers, rows, hidden_size]"""
    found = {layer: [] for layer in layers}
    run = Pass(language_model, sequences, replace(plan, layers=tuple(layers)), batch_size)
    for reading, _rows, values in read_batches(run):
        found[reading].append(values)
    return torch.stack([torch.cat(found[layer]) for layer in layers])


def plain(language_model, sequences, plan, pool, first=len(BEFORE)):
    """The same of each sequence by itself, without padding, from output_hidden_states; first: where pooling begins."""
    by_layer = []
    with torch.no_grad():
        for sequence, position in zip(plan.sequence, plan.position, strict=True):
            ids = torch.from_numpy(sequences.input_ids[sequence, : sequences.lengths[sequence]]).long()[None]
            states = language_model.body(ids, output_hidden_states=True).hidden_states
            by_layer.append(torch.stack([POOLS[pool](states[index][0, first : position + 1]) for index in (0, 1, 3)]))
    return torch.stack(by_layer, dim=1)


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "gpt2", "bert", "t5"])
def test_pooled_states_are_those_of_single_sequences(name):
    language_model, sequences = wrap(tiny_models.make(name)), framed()
    for pool in POOLS:
        plan = every_text_token(sequences, pool)
        ours = read(language_model, sequences, plan)
        close(ours, plain(language_model, sequences, plan, pool))
        for batch_size in (1, 3):
            close(read(language_model, sequences, plan, batch_size), ours)
        if pool != "last":  # the controls: special tokens would move the values, and so does the pool
            assert not torch.allclose(ours, plain(language_model, sequences, plan, pool, first=0), rtol=0.01, atol=0.01)
            last = read(language_model, sequences, replace(plan, pool="last"))
            assert not torch.allclose(ours, last, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("name", ["llama", "bert"])
@pytest.mark.parametrize("pool", ["mean", "max"])
def test_padding_on_either_side_and_what_stands_in_it_change_nothing(name, pool):
    language_model, sequences = wrap(tiny_models.make(name)), framed()
    plan = every_text_token(sequences, pool)
    rows = [torch.from_numpy(indices) for indices in (plan.sequence, plan.position)]
    clean, dirty = sequences.input_ids, np.where(sequences.input_ids == 0, 77, sequences.input_ids)
    expected = read(language_model, sequences, plan)
    assert torch.equal(read(language_model, replace(sequences, input_ids=dirty), plan), expected)
    left, mask = np.full_like(clean, 55), np.zeros_like(clean)
    for row, length in enumerate(LENGTHS):
        left[row, -length:], mask[row, -length:] = clean[row, :length], 1
    found = []
    forward(
        language_model,
        torch.from_numpy(left).long(),
        torch.from_numpy(mask).long(),
        LAYERS,
        lambda _layer, state: found.append(pooled(state, *rows, pool, sequences.text_start)),
    )
    close(torch.stack(found), expected)


def test_long_texts_of_low_precision_keep_their_mean_and_pieces_change_nothing(monkeypatch):
    same = torch.full((1, 2000, 3), 100.0, dtype=torch.float16)  # their sum is more than float16 can hold
    assert torch.equal(pooled(same, torch.tensor([0]), torch.tensor([1999]), "mean", 0), same[:, 0])
    state, rows = torch.randn(3, 9, 10), (torch.tensor([0, 0, 2]), torch.tensor([2, 8, 5]))
    whole = {pool: pooled(state, *rows, pool, 1) for pool in ("mean", "max")}
    monkeypatch.setattr(gathering, "POOL_BYTES", 12 * 3 * 8 * 4)  # four dimensions at a time
    assert all(torch.equal(pooled(state, *rows, pool, 1), values) for pool, values in whole.items())


def test_nothing_is_pooled_before_the_text_and_the_own_probability_is_of_single_tokens_only():
    language_model, sequences = wrap(tiny_models.make("llama")), framed()
    with pytest.raises(ValueError, match="position 1, before the first text token"):
        read(language_model, sequences, ReadPlan(np.array([0]), np.array([1]), pool="mean"))
    for pool, expected in (("last", {0, OWN_LOGITS}), ("mean", {0})):
        plan = every_text_token(sequences, pool)
        plan = replace(plan, layers=(0,), own_targets=np.full(len(plan), 23))
        found = read_batches(Pass(language_model, sequences, plan, 8))
        assert {reading for reading, *_ in found} == expected


def test_a_torn_cache_of_pooled_states_gives_what_memory_gives_and_pools_are_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.states.store.SHARD_BYTES", 4096)
    language_model, sequences = wrap(tiny_models.make("llama")), framed([9, 12, 7, 12, 12, 6, 9, 11, 12, 8])
    tables = {}
    for pool in POOLS:
        plan = replace(every_text_token(sequences, pool), layers=tuple(LAYERS))
        run = Pass(language_model, sequences, plan, 2)
        tables[pool] = collect_in_memory(run, lambda count: None)
        disk = collect_on_disk(tmp_path, run, lambda count: None)
        index = np.arange(len(plan))
        assert torch.equal(disk.rows(index), tables[pool].rows(index))
        shards = sorted(find_folder(tmp_path, run)[0].glob("*.safetensors"))
        assert len(shards) > 2
        shards[1].unlink()
        assert torch.equal(collect_on_disk(tmp_path, run, lambda count: None).rows(index), tables[pool].rows(index))
    assert len(list(tmp_path.iterdir())) == 3
    assert not torch.equal(tables["mean"].rows(index), tables["last"].rows(index))
    key = fingerprint(language_model.fingerprint, "torch.float32", sequences.content_hash(), plan.sequence, plan.position)
    plain_plan = replace(every_text_token(sequences), layers=tuple(LAYERS))
    assert list(tmp_path.glob(f"{key}-*")) == [find_folder(tmp_path, Pass(language_model, sequences, plain_plan, 2))[0]], (
        "caches of before pooling must still be found"
    )


def labelled(lag=0):
    sequences = framed()
    sequences.labels[:] = -1
    for sequence, position, label in ((0, 4, 1), (0, 7, 0), (1, 15, 1), (3, 2, 0)):
        sequences.labels[sequence, position] = label
    return sequences, examples_at(sequences, lag)


def test_whole_sequences_hold_the_text_up_to_the_last_that_is_read():
    sequences, examples = labelled()
    plan = whole_sequences(sequences, [examples])
    pairs = [(0, p) for p in range(2, 8)] + [(1, p) for p in range(2, 16)] + [(3, 2)]
    assert list(zip(plan.sequence.tolist(), plan.position.tolist(), strict=True)) == pairs
    start, end = text_before(plan, examples)
    assert start.tolist() == [0, 0, 6, 20] and end.tolist() == [3, 6, 20, 21]
    earlier = examples_at(sequences, -3)  # sequence 3 has no token there
    assert len(whole_sequences(sequences, [earlier])) == 3 + 11
    both = whole_sequences(sequences, [earlier, examples])
    assert len(both) == 21 and text_before(both, earlier)[1].tolist() == [3, 6 + 11]
    with pytest.raises(ValueError, match="does not hold every token"):
        text_before(ReadPlan.union([examples]), examples)


def run(kinds, pool, lags=(0, -3)):
    sequences, _ = labelled()
    splits = {"train": sequences, "val": sequences}
    questions = [Question(0, lag, splits, {name: labelled(lag)[1] for name in splits}) for lag in lags]
    reading = Reading(tuple(LAYERS), pool, "attention" in kinds, 2, "attention_features" in kinds, batch_size=2, memory_gb=1)
    language_model = wrap(tiny_models.make("llama"))
    return language_model, sequences, questions, run_pass(reading, language_model, questions)


def test_the_pass_reads_what_the_probes_ask_for():
    for kinds, pool in ((["linear"], "mean"), (["linear"], "last"), (["linear", "attention"], "last")):
        language_model, sequences, questions, states = run(kinds, pool)
        table, plan = states.tables["val"], states.plans["val"]
        for question in questions:
            found = question.examples["val"]
            wanted = ReadPlan(found.sequence, found.read, pool=pool)
            close(table.rows(states.source(question).rows["val"]), plain(language_model, sequences, wanted, pool))
        assert len(plan) == (21 if "attention" in kinds else 5) and plan.pool == pool
        assert "attention" not in table.parts[0]
    start, end = text_before(plan, questions[0].examples["val"])
    alone = plain(language_model, sequences, ReadPlan(np.full(14, 1), np.arange(2, 16)), "last")
    close(table.rows(np.arange(start[2], end[2])), alone)
    assert run(["attention_features"], "last")[-1].tables["val"].parts[0]["attention"].shape == (5, 4 * 4 * 2)


def test_an_overflow_anywhere_in_its_text_drops_an_example_that_attends_over_it(monkeypatch):
    monkeypatch.setattr("utils.states.extraction.MOST_NON_FINITE", 0.5)
    language_model, _, (question,), states = run(["attention", "attention_features"], "last", lags=(0,))

    def kept(whole):
        asked = replace(question, in_sample=np.arange(4)[:, None])
        reading = replace(states.reading, whole=whole)
        given = States(reading, {"train": states.tables["train"]}, states.plans, states.seconds)
        (found,) = drop_non_finite(given, language_model, [asked])
        assert isinstance(found.examples["train"], Examples) and len(found.examples["train"]) == len(found.in_sample)
        assert len(question.examples["train"]) == 4, "the question that was given has changed"
        return found.in_sample[:, 0].tolist()

    table = states.tables["train"]
    assert kept(True) == [0, 1, 2, 3]
    table.parts[0]["states"][1, 4] = torch.inf  # sequence 0, position 6: the second example's is 7
    assert kept(False) == [0, 1, 2, 3] and kept(True) == [0, 2, 3]
    table.parts[0]["attention"][20, 1] = torch.nan  # of the last example itself
    assert kept(False) == [0, 1, 2] and kept(True) == [0, 2]
