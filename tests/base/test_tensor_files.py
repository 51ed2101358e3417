"""Files of tensors: what is written comes back, every changed byte is found, and no tensor is larger than its file."""

import io
import warnings
import zipfile

import pytest
import torch

from utils.base.errors import UserError
from utils.base.tensor_files import checksum, load_tensors, save_tensors

VALUES = {
    "numbers": [0, 255, 256, 65536, -1, 2**31, 2**40, -(2**62), 1.5, float("inf"), float("nan"), True, False, None],
    "texts": ["", "a", "\u00e9\u4e2d\U0001f600", "x" * 300],
    "empty": [{}, [], (), {"a": ()}],
    "tuples": [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    "one": {"of": ["one"]},
}
SHAPES = ((), (7,), (2, 3), (0,), (0, 5), (1, 1, 4))
DTYPES = (torch.float32, torch.int8, torch.int32, torch.int64, torch.bfloat16, torch.bool)


def save(path, payload):
    with open(path, "wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about tensors in beta
        save_tensors(file, "made-up", 1, payload() if callable(payload) else payload)
    return path


def load(path):
    return load_tensors(path, "made-up", 1, made_by="scripts/some.py")


def test_what_is_written_comes_back_here_and_by_torch(tmp_path):
    tensors = {f"{dtype} {shape}": (torch.randn(shape) * 9).to(dtype) for dtype in DTYPES for shape in SHAPES}
    shared = {"twice": VALUES["one"], "the same": VALUES["one"]}
    path = save(tmp_path / "file.pth", {**tensors, **VALUES, **shared})
    ours, theirs = load(path), torch.load(path, weights_only=True)
    for name, tensor in tensors.items():
        assert ours[name].dtype == tensor.dtype and ours[name].shape == tensor.shape
        assert torch.equal(ours[name], tensor) and torch.equal(theirs[name], tensor)
    assert repr({name: ours[name] for name in (*VALUES, *shared)}) == repr({**VALUES, **shared})
    ours["torch.float32 (7,)"][0] = 3  # and may be changed


def test_a_part_of_a_tensor_is_read(tmp_path):
    path = save(tmp_path / "file.pth", {"part": torch.arange(20).reshape(5, 4)[1:3]})
    assert torch.equal(load(path)["part"], torch.arange(4, 12).reshape(2, 4))


@pytest.mark.parametrize("shape", [(2, 3), (1, 4), (4, 1), (1, 1), (0, 3), (3, 0)])
def test_a_matrix_that_was_transposed_is_read(tmp_path, shape):
    matrix = torch.arange(float(shape[0] * shape[1])).reshape(shape).T
    found = load(save(tmp_path / "file.pth", {"matrix": matrix, "after it": torch.ones(2)}))
    assert torch.equal(found["matrix"], matrix) and found["matrix"].is_contiguous()
    assert torch.equal(found["after it"], torch.ones(2))


@pytest.mark.slow
def test_every_byte_that_changes_the_content_is_found(tmp_path):
    """torch.load believes some of them: the zip's sums are what it does not look at."""
    path = save(tmp_path / "file.pth", {"weight": torch.arange(9.0), "metadata": {"target": " the", "layer": 3}})
    data, sound = path.read_bytes(), repr(load(path))
    believed, refused = 0, 0
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            assert repr(load(path)) == sound, f"byte {place} was changed and nobody said so"
        except UserError as error:
            assert "\n" not in str(error) and str(path) in str(error)
            refused += 1
        if any(place in range(start, start + 36) for start in (data.find(torch.arange(9.0).numpy().tobytes()),)):
            believed += repr(torch.load(path, weights_only=True)) != sound
    assert believed == 36 and refused > 400


class Subclass(torch.Tensor):
    pass


HOSTILE = {
    "expanded": lambda: torch.zeros(1).expand(10**12),
    "columns first, in part": lambda: torch.arange(6).reshape(2, 3).T[:2],
    "columns first, of three dimensions": lambda: torch.arange(24).reshape(2, 3, 4).permute(2, 1, 0),
    "every second": lambda: torch.arange(9)[::2],
    "sparse": lambda: torch.sparse_coo_tensor([[0], [1]], [1.0], (10**6, 10**6)),
    "sparse rows": lambda: torch.eye(3).to_sparse_csr(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.quint8),
    "meta": lambda: torch.empty(10**6, 10**6, device="meta"),
    "complex": lambda: torch.ones(3, dtype=torch.complex64),
    "conjugate": lambda: torch.ones(3, dtype=torch.complex64).conj(),
    "negated": lambda: torch.ones(3, dtype=torch.complex64).conj().imag,
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "with a gradient": lambda: torch.ones(3, requires_grad=True),
    "a parameter": lambda: torch.nn.Parameter(torch.ones(3)),
    "a subclass": lambda: torch.ones(3).as_subclass(Subclass),
    "of 16 unsigned bits": lambda: torch.ones(3, dtype=torch.uint16),
    "of 8 bits": lambda: torch.ones(3).to(torch.float8_e5m2),
}


@pytest.fixture
def allocated(monkeypatch):
    """The elements of every tensor that is made while a file is read."""
    sizes, empty = [], torch.empty

    def record(*size, **options):
        found = empty(*size, **options)
        sizes.append(found.numel())
        return found

    monkeypatch.setattr(torch, "empty", record)
    return sizes


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_tensor_is_refused_before_anything_is_allocated(tmp_path, allocated, kind):
    path = save(tmp_path / "file.pth", lambda: {"fine": torch.ones(5), "weight": HOSTILE[kind]()})
    del allocated[:]
    with pytest.raises(UserError, match="file.pth .* make it with scripts/some.py"):
        load(path)
    assert sum(allocated) <= 5


def test_tensors_that_share_their_bytes_are_refused(tmp_path):
    both = torch.arange(6)
    with pytest.raises(UserError, match="another tensor's"):
        load(save(tmp_path / "file.pth", {"one": both, "other": both.view(2, 3)}))


# Zips and pickles that torch did not write


def crafted(path, change_pickle=None, change_zip=None):
    """Write a file of a tensor of 7 float32, with a changed pickle or zip whose sums are right."""
    made = io.BytesIO()
    save_tensors(made, "made-up", 1, {"weight": torch.arange(7.0)})
    with zipfile.ZipFile(made) as old:
        members = {name: old.read(name) for name in old.namelist()}
    if change_pickle:
        old, new = change_pickle
        assert members["archive/data.pkl"].count(old) == 1
        members["archive/data.pkl"] = members["archive/data.pkl"].replace(old, new)
    with zipfile.ZipFile(path, "w") as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zipfile, about names that are there twice
        for name, data in members.items():
            new.writestr(name, data)
        if change_zip:
            change_zip(new)
    return path


def test_the_crafted_file_is_read_as_it_is(tmp_path):
    assert torch.equal(load(crafted(tmp_path / "file.pth"))["weight"], torch.arange(7.0))


SHAPE, STORAGE, STRIDE = b"K\x07\x85", b"K\x07t", b"K\x01\x85"  # in the pickle: (7,), (..., 7 elements), (1,)
PICKLES = {
    "a storage longer than its member": (STORAGE, b"J\xff\xff\xff\x7ft"),
    "a storage shorter than its member": (STORAGE, b"K\x06t"),
    "more elements than its storage": (SHAPE, b"J\xff\xff\xff\x7f\x85"),
    "a huge shape": (SHAPE, b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85"),
    "a negative size": (SHAPE, b"J\xff\xff\xff\xff\x85"),
    "a size that is true": (SHAPE, b"\x88\x85"),
    "columns beyond its storage": (SHAPE + b"q\x0b" + STRIDE, b"K\x07K\x02\x86q\x0bK\x01K\x07\x86"),
    "a stride of nothing": (STRIDE, b"K\x00\x85"),
    "a number of 2,000 bits": (SHAPE, b"\x8a\xfa" + b"\x7f" * 250 + b"\x85"),
    "another function": (b"_rebuild_tensor_v2", b"_rebuild_parameter"),
    "code": (b"ctorch._utils\n_rebuild_tensor_v2\n", b"cos\nsystem\n"),
    "a storage of its own name": (b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009"),
    "a text for a container": (b"}q\x00", b"X\x00\x00\x00\x00q\x00"),
    "an operation that makes objects": (SHAPE, b"K\x07\x85\x81"),
    "a place far off": (b"}q\x00", b"}h\xff"),
    "no end": (b"u.", b"u"),
    "two ends": (b"u.", b"u.."),
}


@pytest.mark.parametrize("kind", PICKLES)
def test_a_pickle_that_torch_would_not_write_is_refused(tmp_path, allocated, kind):
    path = crafted(tmp_path / "file.pth", PICKLES[kind])
    del allocated[:]
    with pytest.raises(UserError, match="file.pth .* make it with scripts/some.py"):
        load(path)
    assert sum(allocated) <= 7


ZIPS = {
    "a compressed member": lambda file: file.writestr("archive/data/9", bytes(10**6), zipfile.ZIP_DEFLATED),
    "two of one name": lambda file: file.writestr("archive/data/0", bytes(28)),
    "a way out": lambda file: file.writestr("../data/1", b"x"),
    "a tensor that nobody names": lambda file: file.writestr("archive/data/1", b"x"),
    "no folder": lambda file: file.writestr("readme", b"x"),
}


@pytest.mark.parametrize("kind", ZIPS)
def test_a_zip_that_torch_would_not_write_is_refused(tmp_path, kind):
    with pytest.raises(UserError, match="file.pth is damaged .* make it with scripts/some.py"):
        load(crafted(tmp_path / "file.pth", change_zip=ZIPS[kind]))


def test_members_that_claim_more_than_the_file_has_are_not_read(tmp_path, monkeypatch):
    path = crafted(tmp_path / "file.pth")
    members = zipfile.ZipFile.infolist

    def larger(archive):
        for member in (found := members(archive)):
            member.file_size = member.compress_size = 10**12
        return found

    monkeypatch.setattr(zipfile.ZipFile, "infolist", larger)
    with pytest.raises(UserError, match="claim more bytes"):
        load(path)


def test_the_sum_is_of_names_shapes_types_texts_and_every_byte():
    part = {"a": torch.arange(6.0), "b": torch.ones(2, dtype=torch.int8)}
    found = checksum(part, "x", "y")
    assert found == checksum(dict(reversed(part.items())), "x", "y") and len(found) == 16
    others = (
        checksum(part, "x", "z"),
        checksum(part, "xy"),
        checksum({**part, "a": part["a"].reshape(2, 3)}, "x", "y"),
        checksum({**part, "a": part["a"].view(torch.int32)}, "x", "y"),
        checksum({"c": part["a"], "b": part["b"]}, "x", "y"),
        checksum({**part, "a": part["a"].flip(0)}, "x", "y"),
    )
    assert found not in others and len(set(others)) == 6
