"""Trainings that stop anywhere and go on, to the same bytes; what a folder refuses."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import snapshot
from sae_stand_in import StandIn
from utils.base.errors import UserError
from utils.base.tracking import NoTracking
from utils.sae.files.loading import load_sae
from utils.sae.files.sae_lens import save_sae
from utils.sae.goals import Goal, Recipe
from utils.sae.supply import checkpoints
from utils.sae.supply import folders as kept_folders
from utils.sae.supply.checkpoints import Terms, new_run, resumed_run
from utils.sae.supply.folders import CHECKPOINT, claimed, clear_folder, is_finished, require_own_folder
from utils.sae.supply.history import Glance, best_of
from utils.sae.supply.order import BlockOrder
from utils.sae.supply.runs import Logs, train_all
from utils.sae.supply.states import SeededBatches, StoredStates
from utils.states.store import StateTable

pytestmark = pytest.mark.slow

STATES = torch.randn(2, 700, 8, generator=torch.Generator().manual_seed(0))
GOALS = [[Goal("jumprelu", target, seed, layer) for layer in (0, "final_norm")] for target, seed in ((2, 0), (2, 1), (4, 0))]


def terms(**changes):
    settings = {"model_fingerprint": "m", "texts": "t", "latents": 24, "learning_rate": None, **changes}
    recipe = Recipe(24, 20, 32)
    owner = {name: settings[name] for name in ("model_fingerprint", "texts", "latents")}
    return Terms(recipe, torch.device("cpu"), settings, owner, {"dataset": "d"}, save_sae)


def batches():
    table = StateTable([0, "final_norm"], [{"states": STATES, "own": torch.zeros(700)}])
    return SeededBatches(StoredStates(table, np.arange(650)), BlockOrder(650, 32, 128, 16), 1)


class Killed(BaseException):
    """The end of a process, at a step."""


def train(folder, stop_after=None, resume=False, spoil=None, **changes):
    """Train three runs in a folder. stop_after: batches, then the process is gone; spoil: step whose states are NaN."""
    supplied, given = batches(), 0
    real = supplied.batch

    def batch(step, seed):
        nonlocal given
        given += 1
        if stop_after is not None and given > stop_after:
            raise Killed
        return torch.full((2, 32, 8), torch.nan) if step == spoil else real(step, seed)

    supplied.batch = batch
    folders = [folder / goals[0].run for goals in GOALS]
    for goals, one in zip(GOALS, folders, strict=True):
        require_own_folder(one, goals, terms(**changes).owner, resume)
    sample = STATES[:, :100]
    runs = [
        (resume and resumed_run(goals, one, terms(**changes), StandIn))
        or new_run(goals, one, terms(**changes), StandIn, sample)
        for goals, one in zip(GOALS, folders, strict=True)
    ]
    train_all(runs, supplied, STATES[:, -50:], Logs(NoTracking(), "group", {}))
    return folders


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of trainings that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder)
    return folder


def by_name(folder):
    return {path.removeprefix(str(folder)): digest for path, digest in snapshot(folder).items()}


@pytest.mark.parametrize("stop_after", (0, 1, 3, 4, 5, 16, 27, 39))
def test_a_training_that_was_stopped_goes_on_to_the_same_bytes(whole, tmp_path, stop_after):
    with pytest.raises(Killed):
        train(tmp_path, stop_after)
    train(tmp_path, resume=True)
    assert by_name(tmp_path) == by_name(whole)


def test_trainings_of_another_seed_see_other_batches(whole):
    one, other = (load_sae(whole / goals[0].run / "sae_layer_0_final") for goals in GOALS[:2])
    assert not torch.equal(one.encoder, other.encoder)


def test_what_a_training_leaves(whole):
    folder = whole / GOALS[0][0].run
    assert {path.name for path in folder.iterdir()} == {
        f"{name}_{end}" for name in ("sae_layer_0", "sae_final_norm") for end in ("best", "final", "history.json")
    }
    about = load_sae(folder / "sae_final_norm_final").about
    assert about["layer"] == "final_norm" and about["tokens"] == 20 * 32 and about["dataset"] == "d"
    history = json.loads((folder / "sae_layer_0_history.json").read_text())
    assert history["step"] == list(range(2, 21, 2)) and history["tokens"][-1] == 640 and history["finished"]
    lists = (
        "train_loss",
        "val_loss",
        "recon_loss",
        "sparsity_loss",
        "train_sparsity",
        "sparsity",
        "lr",
        "l0",
        "fvu",
        "dead",
    )
    assert all(len(history[name]) == 10 for name in lists)
    best = load_sae(folder / "sae_layer_0_best")
    assert best.about["step"] == history["best_step"]
    seen = Glance.at(best, STATES[0, -50:])
    rebuilt = best.decode(best.encode(STATES[0, -50:]))
    error = (rebuilt - STATES[0, -50:]).square()
    variance = (STATES[0, -50:] - STATES[0, -50:].mean(0)).square()
    assert seen.fvu == pytest.approx(float(error.sum() / variance.sum()), rel=1e-5)
    assert seen.squared_error == pytest.approx(float(error.mean()), rel=1e-5)
    place = history["step"].index(history["best_step"])
    assert (history["fvu"][place], history["l0"][place]) == (seen.fvu, seen.l0)


def test_the_best_is_the_lowest_fvu_among_those_that_hit_the_target():
    assert best_of({"l0": [9, 10, 10.2, 10.4], "fvu": [0.1, 0.3, 0.2, 0.1]}, 10) == 2
    assert best_of({"l0": [5, 9, 12], "fvu": [0.1, 0.3, 0.2]}, 10) == 1


def test_a_line_says_where_no_checkpoint_hit_the_target(tmp_path, capsys):
    train(tmp_path)
    assert "layer final_norm: no checkpoint had an L0 within 3% of 2; the best is the closest, " in capsys.readouterr().out


def test_a_loss_that_is_not_finite_ends_the_run_with_the_last_good_checkpoint(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(checkpoints, "MOST_OF_THE_TIME", float("inf"))  # each look saves, however slow the disk
    with pytest.raises(
        UserError, match=r"not finite at step 8; the last good checkpoint: .*safetensors of step [246] \(--resume\)"
    ):
        train(tmp_path, spoil=7)
    assert load_sae(tmp_path / GOALS[0][0].run / "sae_layer_0_best").about["step"] <= 6
    train(tmp_path, resume=True, learning_rate=0.1)
    said = capsys.readouterr().out  # of which step: writing checkpoints takes a twentieth of the time at most
    assert re.search(r"--learning_rate is 0.1 from step [246] on; before: usual", said)


def test_finished_trainings_are_known(whole):
    folder = whole / GOALS[0][0].run
    assert is_finished(GOALS[0], folder, terms().settings)
    assert is_finished(GOALS[0], folder, terms(learning_rate=0.1).settings)  # it may have been lowered for others
    assert not is_finished(GOALS[0], folder, terms(epochs=9).settings)
    assert not is_finished([*GOALS[0], Goal("jumprelu", 2, 0, 1)], folder, terms().settings)


def test_half_a_training_is_not_overwritten_by_accident(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, 30)
    with pytest.raises(UserError, match="checkpoint.safetensors is of a training that has not ended: --resume goes on"):
        train(tmp_path)
    with pytest.raises(UserError, match="--resume: .* keep_special was None there and is True now; give the same flags"):
        train(tmp_path, resume=True, keep_special=True)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, 30)
    path = tmp_path / GOALS[0][0].run / CHECKPOINT
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged: its checksum is of other content"):
        train(tmp_path, resume=True)
    path.write_bytes(content[:100])
    with pytest.raises(UserError, match="is damaged or no file of this suite"):
        train(tmp_path, resume=True)


def test_a_folder_of_another_model_is_refused_unless_it_may_go(whole, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(whole / GOALS[0][0].run, folder)
    (folder / "sae_layer_mine.md").write_text("a note of the user's")
    (folder / "sae_thesis").mkdir()
    require_own_folder(folder, GOALS[0], terms(learning_rate=0.1).owner, False)
    with pytest.raises(UserError, match="is of other sparse autoencoders: texts was t there and is u now; --overwrite"):
        require_own_folder(folder, GOALS[0], terms(texts="u").owner, False)
    with pytest.raises(UserError, match="is of other sparse autoencoders: seed was 0 there and is 7 now"):
        require_own_folder(folder, [replace(goal, seed=7) for goal in GOALS[0]], terms().owner, True)
    clear_folder(folder)
    require_own_folder(folder, GOALS[0], terms(texts="u").owner, False)
    assert sorted(path.name for path in folder.iterdir()) == ["sae_layer_mine.md", "sae_thesis"]


def test_a_folder_of_other_settings_is_claimed_by_nobody(whole, tmp_path):
    folder = shutil.copytree(whole / GOALS[0][0].run, tmp_path / "copy")
    before = snapshot(folder)

    def claim(how, **changes):
        with claimed([folder], GOALS[:1], terms(**changes).settings, how):
            return sorted(path.name for path in folder.glob("sae_*"))

    assert len(claim("")) == len(claim("--resume", learning_rate=0.1)) > 4  # the rate may have been lowered for others
    for how, name, value in (("", "learning_rate", 0.1), ("", "epochs", 9), ("--resume", "epochs", 9)):
        with pytest.raises(UserError, match=f"is of another training of .*: {name} was .* there and is {value} now; --over"):
            claim(how, **{name: value})
    assert snapshot(folder) == before
    assert claim("--overwrite", epochs=9) == []


def test_two_runs_do_not_train_in_one_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_folders, "SOON", 0.1)
    both, one = [tmp_path / "one", tmp_path / "two"], [tmp_path / "two"]
    settings = terms().settings
    with (
        claimed(both, GOALS[:2], settings, ""),
        pytest.raises(UserError, match="is being written by process"),
        claimed(one, GOALS[1:2], settings, ""),
    ):
        pass
    with claimed(one, GOALS[1:2], settings, ""):
        assert one[0].is_dir()
