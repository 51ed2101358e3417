"""Pooled and whole-sequence readings against a plain computation from transformers' own output_hidden_states."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tiny_models
from tiny_models import BEFORE, LENGTHS, close, every_text_token, framed
from utils.base.files import fingerprint
from utils.model.language_model import wrap
from utils.states import forward_pass
from utils.states.extraction import drop_non_finite, run_pass
from utils.states.forward_pass import OWN_LOGITS, forward, pooled, read_states
from utils.states.positions import Examples, Question, ReadPlan, examples_at, ragged, whole_sequences
from utils.states.store import collect_in_memory, collect_on_disk, find_folder

LAYERS = ["embed", 0, 2]
POOLS = {"mean": lambda states: states.mean(0), "max": lambda states: states.amax(0), "last": lambda states: states[-1]}


def read(language_model, sequences, plan, batch_size=8, layers=LAYERS):
    """[layers, rows, hidden_size]"""
    found = {layer: [] for layer in layers}
    for reading, _rows, values in read_states(language_model, sequences, plan, layers, batch_size):
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
    monkeypatch.setattr(forward_pass, "POOL_BYTES", 12 * 3 * 8 * 4)  # four dimensions at a time
    assert all(torch.equal(pooled(state, *rows, pool, 1), values) for pool, values in whole.items())


def test_nothing_is_pooled_before_the_text_and_the_own_probability_is_of_single_tokens_only():
    language_model, sequences = wrap(tiny_models.make("llama")), framed()
    with pytest.raises(ValueError, match="position 1, before the first text token"):
        read(language_model, sequences, ReadPlan(np.array([0]), np.array([1]), "mean"))
    for pool, expected in (("last", {0, OWN_LOGITS}), ("mean", {0})):
        plan = every_text_token(sequences, pool)
        found = read_states(language_model, sequences, plan, [0], 8, np.full(len(plan), 23))
        assert {reading for reading, *_ in found} == expected


def test_a_torn_cache_of_pooled_states_gives_what_memory_gives_and_pools_are_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.states.store.SHARD_BYTES", 4096)
    language_model, sequences = wrap(tiny_models.make("llama")), framed([9, 12, 7, 12, 12, 6, 9, 11, 12, 8])
    tables = {}
    for pool in POOLS:
        plan = every_text_token(sequences, pool)
        common = (language_model, sequences, plan, LAYERS, 2, None, lambda count: None)
        tables[pool], disk = collect_in_memory(*common), collect_on_disk(tmp_path, *common)
        index = np.arange(len(plan))
        assert torch.equal(disk.rows(index), tables[pool].rows(index))
        shards = sorted(find_folder(tmp_path, *common[:4], None).glob("*.safetensors"))
        assert len(shards) > 2
        shards[1].unlink()
        assert torch.equal(collect_on_disk(tmp_path, *common).rows(index), tables[pool].rows(index))
    assert len(list(tmp_path.iterdir())) == 3
    assert not torch.equal(tables["mean"].rows(index), tables["last"].rows(index))
    key = fingerprint(language_model.fingerprint, "torch.float32", sequences.content_hash(), plan.sequence, plan.position)
    assert list(tmp_path.glob(f"{key}-*")) == [
        find_folder(tmp_path, language_model, sequences, every_text_token(sequences), LAYERS, None)
    ], "caches of before pooling must still be found"


def labelled(lag=0):
    sequences = framed()
    sequences.labels[:] = -1
    for sequence, position, label in ((0, 4, 1), (0, 7, 0), (1, 15, 1), (3, 2, 0)):
        sequences.labels[sequence, position] = label
    return sequences, examples_at(sequences, lag)


def test_whole_sequences_hold_the_text_up_to_the_last_that_is_read():
    sequences, examples = labelled()
    plan = whole_sequences(sequences, examples)
    pairs = [(0, p) for p in range(2, 8)] + [(1, p) for p in range(2, 16)] + [(3, 2)]
    assert list(zip(plan.sequence.tolist(), plan.position.tolist(), strict=True)) == pairs
    start, end = ragged(plan, examples)
    assert start.tolist() == [0, 0, 6, 20] and end.tolist() == [3, 6, 20, 21]
    earlier = examples_at(sequences, -3)  # sequence 3 has no token there
    assert len(whole_sequences(sequences, earlier)) == 3 + 11
    both = whole_sequences(sequences, earlier, examples)
    assert len(both) == 21 and ragged(both, earlier)[1].tolist() == [3, 6 + 11]
    with pytest.raises(ValueError, match="does not hold every token"):
        ragged(ReadPlan.union([examples]), examples)


def run(kinds, pool, lags=(0, -3)):
    sequences, _ = labelled()
    splits = {"train": sequences, "val": sequences}
    examples = {Question(0, lag): {name: labelled(lag)[1] for name in splits} for lag in lags}
    arguments = SimpleNamespace(batch_size=2, memory_gb=1, cache_dir=None, kinds=kinds, pool=pool, attention_segments=2)
    language_model = wrap(tiny_models.make("llama"))
    return language_model, sequences, examples, run_pass(arguments, language_model, splits, LAYERS, examples, {})


def test_the_pass_reads_what_the_probes_ask_for():
    for kinds, pool in ((["linear"], "mean"), (["linear"], "last"), (["linear", "attention"], "last")):
        language_model, sequences, examples, (tables, rows, plans) = run(kinds, pool)
        for question, found in examples.items():
            wanted = ReadPlan(found["val"].sequence, found["val"].read, pool)
            close(tables["val"].rows(rows[question]["val"]), plain(language_model, sequences, wanted, pool))
        assert len(plans["val"]) == (21 if "attention" in kinds else 5) and plans["val"].pool == pool
        assert "attention" not in tables["val"].parts[0]
    start, end = ragged(plans["val"], examples[Question(0, 0)]["val"])
    alone = plain(language_model, sequences, ReadPlan(np.full(14, 1), np.arange(2, 16)), "last")
    close(tables["val"].rows(np.arange(start[2], end[2])), alone)
    assert run(["attention_features"], "last")[-1][0]["val"].parts[0]["attention"].shape == (5, 4 * 4 * 2)


def test_an_overflow_anywhere_in_its_text_drops_an_example_that_attends_over_it(monkeypatch):
    monkeypatch.setattr("utils.states.extraction.MOST_NON_FINITE", 0.5)
    language_model, _, examples, (tables, rows, plans) = run(["attention", "attention_features"], "last", lags=(0,))

    def kept(table, given):
        found, samples = {0: dict(examples[Question(0, 0)])}, {0: np.arange(4)[:, None]}
        drop_non_finite({"train": table}, {0: dict(rows[Question(0, 0)])}, found, LAYERS, language_model, given, samples)
        assert isinstance(found[0]["train"], Examples) and len(found[0]["train"]) == len(samples[0])
        return samples[0][:, 0].tolist()

    assert kept(tables["train"], plans) == [0, 1, 2, 3]
    tables["train"].parts[0]["states"][1, 4] = torch.inf  # sequence 0, position 6: the second example's is 7
    assert kept(tables["train"], None) == [0, 1, 2, 3] and kept(tables["train"], plans) == [0, 2, 3]
    tables["train"].parts[0]["attention"][20, 1] = torch.nan  # of the last example itself
    assert kept(tables["train"], None) == [0, 1, 2] and kept(tables["train"], plans) == [0, 2]
