"""The state store: the same rows in memory, from disk, from a cache of more layers, and after kill -9."""

import json
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
from safetensors.torch import load_file, save_file

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


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.unlink()  # a table may still map the old file
    path.write_bytes(data)


@pytest.mark.parametrize("place", [-1, -200, 100, 9])
def test_one_flipped_bit_in_a_shard_is_computed_again(setting, tmp_path, capsys, place):
    first = collect(tmp_path, setting)
    index = np.arange(len(first))
    values, sound = first.rows(index).clone(), snapshot(tmp_path)
    flip(sorted(tmp_path.rglob("*.safetensors"))[1], place)
    assert torch.equal(collect(tmp_path, setting).rows(index), values) and snapshot(tmp_path) == sound
    assert capsys.readouterr().out.count("damaged") == 1


def test_a_shard_in_the_place_of_another_is_computed_again(setting, tmp_path, capsys):
    values = collect(tmp_path, setting).own_logits
    sound = snapshot(tmp_path)
    shards = sorted(tmp_path.rglob("*.safetensors"))
    one, other = next((a, b) for a in shards for b in shards if a < b and a.stat().st_size == b.stat().st_size)
    data = one.read_bytes()
    other.unlink()
    other.write_bytes(data)
    assert np.array_equal(collect(tmp_path, setting).own_logits, values) and snapshot(tmp_path) == sound
    assert "damaged" in capsys.readouterr().out


def of_before(folder):
    """Make the entry one from before there were checksums. Return the path of its index."""
    for path in folder.rglob("*.safetensors"):
        part = {name: tensor.clone() for name, tensor in load_file(path).items()}
        path.unlink()
        save_file(part, path)
    (path,) = folder.rglob("index.json")
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "checksum"}))
    return path


def test_an_entry_from_before_checksums_is_read(setting, tmp_path, capsys):
    first = collect(tmp_path, setting)
    index = np.arange(len(first))
    values = first.rows(index).clone()
    of_before(tmp_path)
    setting[0].body.forward = None  # the model cannot be run any more
    assert torch.equal(collect(tmp_path, setting).rows(index), values) and capsys.readouterr().out == ""


CHANGED = {
    "other layers": lambda index: index.update(layers=["embed", 1, 2, "final_norm"]),
    "layers out of order": lambda index: index["layers"].reverse(),
    "a layer that is none": lambda index: index.update(layers=["embed", -1, 2, "final_norm"]),
    "fewer rows": lambda index: index.update(rows=index["rows"] - 1),
    "a shard too few": lambda index: index["shards"].pop(),
    "shards out of order": lambda index: index["shards"].reverse(),
    "a gap": lambda index: index["shards"].pop(1),
    "a text for a number": lambda index: index["shards"].__setitem__(0, ["0", 2]),
    "no list": lambda index: index.update(shards=7),
    "a key too many": lambda index: index.update(note=1),
    "targets of another kind": lambda index: index.update(own=[1]),
}


@pytest.mark.parametrize(
    "change, before",
    [(change, False) for change in CHANGED] + [(change, True) for change in CHANGED if change != "other layers"],
)
def test_a_changed_index_is_made_again(setting, tmp_path, capsys, change, before):
    first = collect(tmp_path, setting)
    index = np.arange(len(first))
    values = first.rows(index).clone()
    path = of_before(tmp_path) if before else next(tmp_path.rglob("index.json"))
    sound = {k: v for k, v in json.loads(path.read_text()).items() if k != "checksum"}
    changed = json.loads(path.read_text())
    CHANGED[change](changed)
    path.write_text(json.dumps(changed))
    assert torch.equal(collect(tmp_path, setting).rows(index), values)
    assert capsys.readouterr().out.count("index.json is damaged") == 1
    assert {k: v for k, v in json.loads(path.read_text()).items() if k != "checksum"} == sound


def test_a_shard_of_another_type_is_computed_again(setting, tmp_path, capsys):
    first = collect(tmp_path, setting)
    index = np.arange(len(first))
    values = first.rows(index).clone()
    of_before(tmp_path)
    shard = sorted(tmp_path.rglob("*.safetensors"))[0]
    part = {name: tensor.double() for name, tensor in load_file(shard).items()}
    shard.unlink()
    save_file(part, shard)
    assert torch.equal(collect(tmp_path, setting).rows(index), values)
    assert "it holds other rows" in capsys.readouterr().out


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
    assert len(ours) == 6 and ours == theirs
    table = "results/probe_metrics.csv"
    assert (tmp_path / "killed" / table).read_bytes() == (tmp_path / "undisturbed" / table).read_bytes()
