"""How far each group moves a score, on disk: paired differences of two runs equal those from their logits."""

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.base.files import WriteTogether
from utils.saved.group_scores import Block, read_group_scores, write_group_scores
from utils.scores.differences import DIFFERENCES_OF, ByGroup, paired_differences

PROBES, GROUPS, EACH = 4, 12, 30


@pytest.fixture
def data():
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(GROUPS), EACH)
    labels = (draw.random(len(groups)) < 0.3).astype(np.int8)
    easy = draw.normal(size=GROUPS)[groups]  # what makes a group easy for both
    one, other = (draw.normal(size=(PROBES, len(groups))) + labels * (1 + easy) + 0.1 * shift for shift in (0, 1))
    other[-1] = 2 * one[-1] + 1  # ranks alike
    return one, other, labels, groups


def block(logits, labels, groups, about=None, probes=None):
    arrays = {}
    for metric in DIFFERENCES_OF:
        found = ByGroup.of(metric, logits, labels, groups, np.full(len(logits), 0.5))
        arrays |= {metric: found.influences, f"{metric}_values": found.values}
        arrays |= {"positives": found.positives, "negatives": found.negatives}
    about = {"target": " the", "lag": -1, "split": "test", "n": len(labels), "examples": "abc", "model": "m"} | (about or {})
    return Block({**about, "probes": probes or [[str(layer), "linear", 0] for layer in range(len(logits))]}, arrays)


def write(path, *blocks, replaced=()):
    with WriteTogether() as files:
        write_group_scores(files, path, blocks, replaced)


@pytest.mark.parametrize("metric", DIFFERENCES_OF)
def test_differences_from_files_are_those_from_logits(tmp_path, data, metric):
    one, other, labels, groups = data
    for name, logits in (("one", one), ("other", other)):
        write(tmp_path / name, block(logits, labels, groups))
    (ours,), (theirs,) = (read_group_scores(tmp_path / name) for name in ("one", "other"))
    found = ours.scores(metric).minus(theirs.scores(metric))
    at = np.full(PROBES, 0.5)
    wanted = paired_differences(one, other, labels, groups, at, at, metric)
    for values, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(values, expected, atol=1e-12)
    low, high = found[1][0], found[2][0]
    deal = np.random.default_rng(1).permutation(len(labels))
    dealt = paired_differences(one, other, labels, groups[deal], at, at, metric)
    assert abs((high - low) / (dealt[2][0] - dealt[1][0]) - 1) > 0.2, "other groups give the same interval"
    if metric == "auc":
        assert np.isnan(found[1][-1]), "two probes that rank alike have an interval"


def test_a_later_run_adds_its_probes_and_replaces_its_own(tmp_path, data):
    one, other, labels, groups = data
    path = tmp_path / "group_scores.safetensors"
    write(path, block(one, labels, groups), block(one[:1], labels, groups, {"lag": 0}))
    write(path, block(other[:2], labels, groups, probes=[["1", "linear", 0], ["1", "mlp", 0]]))
    blocks = read_group_scores(path)
    assert [(found.about["lag"], sorted(found.rows)) for found in blocks] == [
        (-1, [("0", "linear", 0), ("2", "linear", 0), ("3", "linear", 0)]),
        (0, [("0", "linear", 0)]),
        (-1, [("1", "linear", 0), ("1", "mlp", 0)]),
    ]
    np.testing.assert_array_equal(blocks[2].arrays["auc"], block(other[:2], labels, groups).arrays["auc"])
    np.testing.assert_array_equal(blocks[0].arrays["auc"][1], block(one, labels, groups).arrays["auc"][2])
    write(path, block(one[:1], labels, groups), replaced=[path])
    assert [list(found.rows) for found in read_group_scores(path)] == [[("0", "linear", 0)]]


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "empty"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, data, damage):
    path = tmp_path / "group_scores.safetensors"
    assert read_group_scores(path) == []
    write(path, block(data[0], *data[2:]))
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-9] ^= 1
    path.write_bytes({"cut": content[:-9], "flipped": content, "other": b"{}", "empty": b""}[damage])
    with pytest.raises(UserError, match="is damaged or of another kind .*; move it away and run"):
        read_group_scores(path)
