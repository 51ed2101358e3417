"""The state store: the same rows in memory, from disk, from a cache of more layers, and after kill -9."""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_models
from helpers import SCRIPTS, assert_success, call, snapshot
from utils.model.language_model import wrap
from utils.states.forward_pass import Pass
from utils.states.store import collect_in_memory, collect_on_disk

LAYERS = ["embed", 0, 2, "final_norm"]


@pytest.fixture
def setting(monkeypatch):
    monkeypatch.setattr("utils.states.store.SHARD_BYTES", 4096)  # a few sequences a shard
    language_model = wrap(tiny_models.make("llama"))
    sequences = tiny_models.sequences_of([9, 12, 7, 12, 12, 5, 9, 11, 12, 8])
    return language_model, sequences, tiny_models.every_position(sequences)


def collect(where, setting, layers=LAYERS, ticks=None):
    run, tick = pass_of(setting, layers), (ticks if ticks is not None else []).append
    return collect_in_memory(run, tick) if where is None else collect_on_disk(where, run, tick)


def pass_of(setting, layers=LAYERS, target=23):
    """target: None where the model's own probability is not asked for."""
    language_model, sequences, plan = setting
    own_targets = None if target is None else np.full(len(plan), target)
    return Pass(language_model, sequences, replace(plan, layers=tuple(layers), own_targets=own_targets), 2)


def same(one, other):
    index = np.random.default_rng(0).permutation(len(one))
    return torch.equal(one.rows(index), other.rows(index)) and np.array_equal(one.own_logits, other.own_logits)


def test_memory_and_shards_hold_the_same_rows(setting, tmp_path):
    ticks = []
    memory, disk = collect(None, setting, ticks=ticks), collect(tmp_path, setting)
    assert len(disk.parts) > 2 and same(memory, disk) and same(memory, disk.in_memory())
    assert sum(ticks) == setting[1].lengths.sum()
    assert torch.isfinite(memory.rows(np.arange(len(memory)))).all() and np.isfinite(memory.own_logits).all()


def test_a_second_run_reads_and_computes_nothing(setting, tmp_path):
    first = collect(tmp_path, setting)
    before = snapshot(tmp_path)
    setting[0].body.forward = None  # the model cannot be run any more
    assert same(first, collect(tmp_path, setting)) and snapshot(tmp_path) == before
    fewer = collect(tmp_path, setting, layers=[0, "final_norm"])
    index = np.arange(len(first))
    assert torch.equal(fewer.rows(index), first.rows(index)[[1, 3]])
    assert torch.equal(fewer.in_memory().rows(index), first.rows(index)[[1, 3]])


def test_other_weights_and_other_targets_are_other_states(setting, tmp_path):
    collect(tmp_path, setting)
    language_model, sequences, plan = setting
    with torch.no_grad():
        language_model.model.get_input_embeddings().weight[5] += 1
    changed = wrap(language_model.model)
    assert changed.fingerprint != language_model.fingerprint
    collect(tmp_path, (changed, sequences, plan))
    collect_on_disk(tmp_path, pass_of((changed, sequences, plan), target=7), lambda count: None)
    assert len(list(tmp_path.iterdir())) == 3


def collect_and_tear(folder, setting):
    """A whole entry, one shard of it torn afterwards: the shard, the index of all rows, and what they held."""
    first = collect(folder, setting)
    index = np.arange(len(first))
    values = first.rows(index).clone()
    shard = sorted(folder.rglob("*.safetensors"))[1]
    shard.unlink()  # the table above still maps the old file
    shard.write_bytes(b"torn")
    return shard, index, values


def test_a_damaged_shard_is_computed_again(setting, tmp_path, capsys):
    shard, index, values = collect_and_tear(tmp_path, setting)
    again = collect(tmp_path, setting)
    assert torch.equal(again.rows(index), values) and "damaged" in capsys.readouterr().out
    assert shard.stat().st_size > 100


def test_a_damaged_shard_of_more_layers_is_made_again_with_all_of_them(setting, tmp_path):
    shard, index, values = collect_and_tear(tmp_path, setting)
    assert torch.equal(collect(tmp_path, setting, layers=[2]).rows(index), values[[2]])
    assert torch.equal(collect(tmp_path, setting).rows(index), values)


def test_fewer_layers_without_own_probability_are_served_from_the_whole(setting, tmp_path):
    first = collect(tmp_path, setting)
    setting[0].body.forward = None
    fewer = collect_on_disk(tmp_path, pass_of(setting, [0], target=None), lambda count: None)
    index = np.arange(len(first))
    assert torch.equal(fewer.rows(index), first.rows(index)[[1]])


def test_states_that_the_disk_cannot_hold_are_refused_before_the_pass(tmp_path):
    from utils.base.errors import UserError
    from utils.states.extraction import require_disk_space

    require_disk_space(tmp_path / "new", 1000)
    with pytest.raises(UserError, match=r"1000000\.0 GB of hidden states do not fit .* --cache_dir"):
        require_disk_space(tmp_path / "new", 10**15)


KILLED = """
    import os, signal, sys
    sys.path.insert(0, sys.argv.pop(1))
    from utils.states import store
    import train_probe
    store.SHARD_BYTES = 20_000
    write, left = store.write_shard, [3]
    def write_and_die(path, part):
        write(path, part)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    store.write_shard = write_and_die
    train_probe.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_then_the_same_command_goes_on_to_the_same_result(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.states.store.SHARD_BYTES", 20_000)

    def arguments(name):
        return [
            "--train_data",
            str(prepared / "train.pth"),
            "--layer_sweep",
            "all",
            "--no_wandb",
            "--batch_size",
            "8",
            "--output_dir",
            str(tmp_path / name / "models"),
            "--results_dir",
            str(tmp_path / name / "results"),
            "--cache_dir",
            str(tmp_path / name / "cache"),
        ]

    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(SCRIPTS), *arguments("killed")],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    shards = sorted(Path(tmp_path / "killed").rglob("*.safetensors"))
    assert len(shards) == 3 and not list((tmp_path / "killed" / "models").glob("*.pth"))
    before = [path.stat().st_mtime_ns for path in shards]
    for name in ("killed", "undisturbed"):
        assert_success(call("train_probe", *arguments(name)))
    assert [path.stat().st_mtime_ns for path in shards] == before, "what was there was computed again"
    ours, theirs = (list(snapshot(tmp_path / name / "models").values()) for name in ("killed", "undisturbed"))
    assert len(ours) == 5 and ours == theirs
    table = "results/probe_metrics.csv"
    assert (tmp_path / "killed" / table).read_bytes() == (tmp_path / "undisturbed" / table).read_bytes()
