"""An adapter beside a model, or instead of one, is loaded with peft; without peft it is named."""

import json
import shutil
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers import assert_one_line_error, assert_success, call
from utils.base import hub
from utils.base.errors import UserError
from utils.data.tokenizer import load_tokenizer, tokenizer_fingerprint
from utils.model.language_model import load_language_model
from utils.model.random_weights import with_random_weights
from utils.states.forward_pass import forward

pytestmark = pytest.mark.slow

needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed: pip install peft")
IDS = torch.arange(5, 29)[None]


def states_of(folder, dtype="float32"):
    language_model, found = load_language_model(str(folder), dtype, "cpu"), {}
    forward(language_model, IDS, torch.ones_like(IDS), [0, 2], lambda layer, state: found.__setitem__(layer, state[0]))
    return language_model, found


@pytest.fixture
def adapter_alone(tiny_model, tmp_path):
    """A folder that holds what every adapter's holds, its weights apart."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    described = {"peft_type": "LORA", "base_model_name_or_path": str(tiny_model)}
    (folder / "adapter_config.json").write_text(json.dumps(described))
    return folder


def test_without_peft_an_adapter_is_named_in_one_line(adapter_alone, tiny_model, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    both = tmp_path / "both"
    shutil.copytree(tiny_model, both)
    shutil.copy(adapter_alone / "adapter_config.json", both)
    for folder, needle in ((adapter_alone, f"--model_name {tiny_model}"), (both, "beside its model")):
        for script in ("check_setup", "train_probe"):
            data = (
                ("--train_data", prepared / "train.pth", "--output_dir", tmp_path / "out") if script == "train_probe" else ()
            )
            result = call(script, "--model_name", folder, "--device", "cpu", *data)
            assert_one_line_error(result, folder, "LORA", "pip install peft", needle)


def test_an_adapter_that_names_no_base_is_an_error_that_says_so(adapter_alone):
    (adapter_alone / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(UserError, match="base_model_name_or_path"):
        load_language_model(str(adapter_alone), device="cpu")


@pytest.fixture
def adapter(tiny_model, tmp_path):
    """Folders of a LoRA adapter for the tiny model, alone and beside it; and the model as peft itself gives it."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_pretrained(tiny_model)
    model = peft.get_peft_model(plain, peft.LoraConfig(r=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    both, alone = tmp_path / "with_model", tmp_path / "without"
    shutil.copytree(tiny_model, both)
    for folder in (both, alone):
        model.save_pretrained(folder)
    return alone, both, model.eval()


@needs_peft
def test_with_peft_the_states_are_those_of_peft_itself(adapter, tiny_model):
    alone, both, model = adapter
    with torch.no_grad():
        theirs = model(input_ids=IDS, output_hidden_states=True).hidden_states
    plain, without = states_of(tiny_model)
    for folder in (alone, both):
        language_model, ours = states_of(folder)
        torch.testing.assert_close(ours[0], theirs[1][0], rtol=1e-4, atol=1e-4)
        assert not torch.allclose(ours[2], without[2], atol=0.1), "the adapter changes nothing, so this proves nothing"
        assert language_model.fingerprint == states_of(folder, "bfloat16")[0].fingerprint != plain.fingerprint
        assert "LORA" in language_model.notes[0] and language_model.has_head
    assert states_of(alone)[0].fingerprint == states_of(both)[0].fingerprint
    assert tokenizer_fingerprint(load_tokenizer(str(alone))) == tokenizer_fingerprint(load_tokenizer(str(tiny_model)))


@needs_peft
def test_a_run_with_an_adapter_and_its_random_twin(adapter, prepared, tmp_path, tiny_model):
    alone, _, _ = adapter
    out = ("--output_dir", tmp_path / "out", "--results_dir", tmp_path / "out", "--no_wandb", "--epochs", "1")
    data = ("--train_data", prepared / "train.pth", "--layer", "2", "--random_weights")
    result = assert_success(call("train_probe", "--model_name", alone, "--device", "cpu", *data, *out))
    assert f"{alone} holds an adapter, loaded with peft: LORA for {tiny_model}" in result.stdout
    twin = with_random_weights(states_of(alone)[0])
    assert not any("lora" in name for name, _ in twin.model.named_parameters())


@needs_peft
@pytest.mark.parametrize(
    "change, needle",
    [
        (
            lambda weights: {name: value for name, value in weights.items() if ".1." not in name},
            "4 of its weights are missing",
        ),
        (lambda weights: {name.replace("layers", "blocks"): value for name, value in weights.items()}, "12 have no place"),
    ],
)
def test_an_adapter_that_does_not_fit_its_model_is_refused(change, needle, adapter):
    file = adapter[0] / "adapter_model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    assert_one_line_error(call("check_setup", "--model_name", adapter[0], "--device", "cpu"), adapter[0], needle)


@needs_peft
def test_weights_that_the_base_lacks_are_named_though_an_adapter_is_loaded_after_them(adapter):
    file = adapter[1] / "model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if ".layers.1." not in name}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match="9 of the weights that the pass reads are not in its file"):
        load_language_model(str(adapter[1]), device="cpu")
