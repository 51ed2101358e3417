"""Exported probes come back as they were, other tools read them, and another model's are not overwritten."""

import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from utils.base.errors import UserError
from utils.base.files import WriteTogether
from utils.saved.export import export, read_export, read_header
from utils.saved.probe_files import load_probe, save_probe


def metadata(layer=3, **changes):
    return {
        "model": "tiny",
        "model_fingerprint": "a" * 16,
        "dataset_fingerprint": "b" * 16,
        "tokenizer_fingerprint": "c" * 16,
        "target": " the",
        "token": 5,
        "lag": -1,
        "seed": 0,
        "kind": "linear",
        "layer": layer,
        "hidden_size": 4,
        "threshold": 0.1 * 3,
        "prevalence": 0.05,
        "causal": True,
        "texts": {"train": ["d", "e"]},
        "metrics": {"val": {"balanced_accuracy": 2 / 3, "auc_low": math.nan, "n": 7}},
        "baselines": {"majority": None},
        **changes,
    }


def probe(weight=None, bias=0.25, **changes):
    weight = torch.linspace(-1, 1, 4) / 3 if weight is None else weight
    return {
        "format": "linear-probe",
        "version": 1,
        "state_dict": {"weight": weight, "bias": torch.tensor(bias)},
        "metadata": metadata(**changes),
    }


def write(folder, probes, **options):
    with WriteTogether() as files:
        return export(files, folder, probes, **options)


def same(one, other):
    assert set(one) == set(other) and (one["format"], one["version"]) == (other["format"], other["version"])
    assert set(one["state_dict"]) == set(other["state_dict"])
    for name, tensor in one["state_dict"].items():
        assert torch.equal(tensor, other["state_dict"][name]) and tensor.dtype == other["state_dict"][name].dtype
    assert repr(sorted(one["metadata"].items())) == repr(sorted(other["metadata"].items()))  # NaN is NaN, 2 is not 2.0


def test_probes_come_back_exactly_and_in_order(tmp_path):
    table = torch.randn(4, 4)
    probes = [
        probe(table[0], layer="final_norm"),
        probe(table[1], layer=10),
        probe(table[:, 2], layer="embed", lag=4),
        probe(table[3], target="a/b %\n✓", seed=7),
    ]
    found = read_export(write(tmp_path, probes))
    assert len(found) == 4
    for one, other in zip(probes, found, strict=True):
        same(one, other)


def test_a_saved_probe_survives_the_way_through_the_export(tmp_path):
    with WriteTogether() as files:
        save_probe(files, tmp_path / "probe_layer3_next.pth", probe()["state_dict"], metadata())
    saved = load_probe(tmp_path / "probe_layer3_next.pth")
    same(saved, read_export(write(tmp_path, [saved]))[0])


def test_other_tools_find_the_tensors_by_name_and_strict_json(tmp_path):
    probes = [probe(layer=3), probe(layer=4, lag=0)]
    path = write(tmp_path, probes)
    with safe_open(path, framework="np") as file:
        names = {f"%20the/{name}/linear/0/{part}" for name in ("3/-1", "4/0") for part in ("weight", "bias")}
        assert set(file.keys()) == names
        assert file.get_tensor("%20the/4/0/linear/0/weight").tolist() == probes[1]["state_dict"]["weight"].tolist()
        assert set(file.metadata()) == {"probes"}  # of several keys the order would change from run to run
        header = json.loads(file.metadata()["probes"], parse_constant=pytest.fail)
    assert header["common"]["texts"] == {"train": ["d", "e"]}, "what all share is held once"
    own = {name: found["metadata"] for name, found in header["probes"].items()}
    assert own == {"%20the/3/-1/linear/0": {"layer": 3, "lag": -1}, "%20the/4/0/linear/0": {"layer": 4, "lag": 0}}
    assert header["common"]["metrics"]["val"]["auc_low"] is None


def test_the_same_probes_give_the_same_bytes(tmp_path):
    probes = [probe(layer=layer) for layer in range(5)]
    assert write(tmp_path / "one", probes).read_bytes() == write(tmp_path / "other", probes).read_bytes()


@pytest.mark.parametrize("key", ["model_fingerprint", "dataset_fingerprint"])
def test_an_export_of_another_model_or_dataset_is_replaced_only_with_overwrite(tmp_path, key):
    path = write(tmp_path, [probe()])
    before = path.read_bytes()
    other = probe(**{key: "f" * 16})
    with pytest.raises(UserError, match=f"{'f' * 16}.*--overwrite"):
        write(tmp_path, [other])
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    write(tmp_path, [other], overwrite=True)
    assert read_header(path)["common"][key] == "f" * 16
    write(tmp_path, [probe(layer=1, **{key: "f" * 16})])  # its own is replaced without it
    assert [found["metadata"]["layer"] for found in read_export(path)] == [1]


def test_a_strangers_file_is_kept(tmp_path):
    save_file({"x": torch.ones(2)}, tmp_path / "probes.safetensors")
    with pytest.raises(UserError, match="no export of probes"):
        write(tmp_path, [probe()])


@pytest.mark.parametrize(
    "probes, message",
    [
        ([], "no probes"),
        ([probe(), probe(bias=1.0)], "both %20the/3/-1/linear/0"),
        ([probe(), probe(layer=4, model_fingerprint="f" * 16)], "several models or datasets"),
    ],
    ids=["none", "twice", "mixed"],
)
def test_what_cannot_stand_in_one_file_is_refused(tmp_path, probes, message):
    with pytest.raises(UserError, match=message):
        write(tmp_path, probes)
    assert not list(tmp_path.iterdir())


def without_checksum(path):
    """Make of an export one from before there were checksums."""
    with safe_open(path, "pt") as file:
        tensors, header = {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["probes"])  # noqa: SIM118
    header.pop("checksum")
    save_file(tensors, path, {"probes": json.dumps(header)})


def test_an_export_from_before_checksums_is_read(tmp_path):
    path = write(tmp_path, [probe(), probe(layer=4)])
    before = read_export(path)
    without_checksum(path)
    for one, other in zip(read_export(path), before, strict=True):
        same(one, other)


def spoil(path, how):
    if "before checksums" in how:
        without_checksum(path)
        how = how.partition(",")[0]
    data = path.read_bytes()
    if how == "cut short":
        path.write_bytes(data[:-3])
    elif how == "a pickle":
        torch.save({"weight": torch.ones(2)}, path)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "a newer version":
        path.write_bytes(data.replace(rb"\"version\": 1", rb"\"version\": 9"))
    elif how == "not finite":
        path.write_bytes(data[:-4] + b"\x00\x00\xc0\x7f")
    elif how == "nothing said of a probe":
        path.write_bytes(data.replace(rb"\"metadata\"", rb"\"metadatA\""))
    elif how == "another name":
        path.write_bytes(data.replace(b"/3/-1/linear/0/weight", b"/4/-1/linear/0/weight"))
    else:
        path.unlink()


@pytest.mark.parametrize(
    "how, message",
    [
        ("cut short", "damaged"),
        ("a pickle", "damaged"),
        ("empty", "damaged"),
        ("a newer version", "version 9"),
        ("not finite", "checksum"),
        ("not finite, before checksums", "not finite"),
        ("nothing said of a probe", "lacks what"),
        ("another name", "checksum"),
        ("another name, before checksums", "header does not speak"),
        ("gone", "does not exist"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, how, message):
    path = write(tmp_path, [probe()])
    spoil(path, how)
    with pytest.raises(UserError, match=message) as error:
        read_export(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
