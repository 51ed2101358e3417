"""What the loader reports is judged: weights that the pass reads must be in the file, and nothing else counts."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_models
from helpers import ROOT, assert_one_line_error, assert_success, call, snapshot
from utils.base.errors import UserError
from utils.model.belonging import check_model_of_probe
from utils.model.language_model import load_language_model, own_logits, wrap
from utils.states.forward_pass import forward
from utils.states.sites import FINAL_NORM, every_layer


def load(folder, dtype="float32"):
    return load_language_model(str(folder), dtype, "cpu")


def changed(folder, to, change):
    """A copy of a model's folder whose weights, {name: tensor}, are what change(weights) returns."""
    shutil.copytree(folder, to)
    save_file(change(load_file(to / "model.safetensors")), to / "model.safetensors", metadata={"format": "pt"})
    return to


def without(*beginnings):
    return lambda weights: {name: value for name, value in weights.items() if not name.startswith(beginnings)}


def states_of(language_model, input_ids):
    """{layer: state [tokens, hidden_size]} of one sequence, as the pass reads them."""
    found = {}
    forward(
        language_model,
        input_ids,
        torch.ones_like(input_ids),
        every_layer(language_model.anatomy),
        lambda layer, state: found.__setitem__(layer, state[0]),
    )
    return found


# What has no place


EXTRA = {
    "a further block": (["model.layers.5.input_layernorm.weight", "model.layers.5.mlp.up_proj.weight"], True),
    "a bias that the configuration leaves out": (["model.layers.0.self_attn.q_proj.bias"], True),
    "a part of a block": (["model.layers.2.self_attn.q_norm.weight"], True),
    "of the last norm": (["model.norm.bias"], True),
    "a buffer of former versions": (
        ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.0.attn.masked_bias"],
        False,
    ),
    "another tower": (["vision_tower.layers.0.input_layernorm.weight", "model.vision.norm.bias"], False),
    "a head": (["lm_head.bias", "score.weight", "mtp.layers.0.mlp.up_proj.weight"], False),
}


@pytest.mark.parametrize("case", EXTRA)
@pytest.mark.parametrize("headless", [False, True])
def test_weights_beside_those_that_are_read_are_refused_by_name(case, headless, tiny_model, tmp_path):
    """Of a model whose config.json has fewer blocks than its file, the last norm would be read too early."""
    names, refused = EXTRA[case]

    def add(weights):
        weights = {name: value for name, value in weights.items() if not (headless and name.startswith("lm_head"))}
        weights |= {name: torch.zeros(32) for name in names}
        return {name.removeprefix("model.") if headless else name: value for name, value in weights.items()}

    folder = changed(tiny_model, tmp_path / "model", add)
    if headless:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaModel"]}))
    if not refused:
        assert load(folder).unused is not None
        return
    with pytest.raises(UserError) as caught:
        load(folder)
    for name in names:
        assert name.removeprefix("model.") in str(caught.value)
    assert f"holds {len(names)} weights" in str(caught.value) and "config.json" in str(caught.value)


def test_a_configuration_with_too_few_blocks_is_refused(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    with pytest.raises(
        UserError, match=r"9 weights.*\(model\.layers\.2\.input_layernorm\.weight, .*another model would be read"
    ):
        load(folder)


# What is missing


WRONG = {
    "prefix": (
        lambda weights: {f"_orig_mod.{name}": value for name, value in weights.items()},
        ["29 of the weights", "model.embed_tokens.weight", "_orig_mod.lm_head.weight", "model._orig_mod"],
    ),
    "other prefix": (
        lambda weights: {f"net.lm.{name}": value for name, value in weights.items()},
        ["29 of the weights", "all names in the file begin with 'net.lm.'"],
    ),
    "layer": (
        without("model.layers.1."),
        ["9 of the weights", "model.layers.1.input_layernorm.weight", "complete checkpoint"],
    ),
    "one weight": (without("model.norm."), ["1 of the weights", "model.norm.weight"]),
    "other architecture": (
        lambda weights: {name.replace("self_attn", "attention"): value for name, value in weights.items()},
        ["12 of the weights", "self_attn.k_proj", "attention.k_proj", "of this architecture"],
    ),
    "sizes": (
        lambda weights: {name: value[:40] if "up_proj" in name else value for name, value in weights.items()},
        ["3 weights", "model.layers.0.mlp.up_proj.weight is [40, 32], not [64, 32]", "config.json"],
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_weights_that_the_pass_reads_and_the_file_lacks_are_named(wrong, tiny_model, tmp_path):
    change, needles = WRONG[wrong]
    with pytest.raises(UserError) as error:
        load(changed(tiny_model, tmp_path / "model", change))
    assert all(needle in str(error.value) for needle in (*needles, str(tmp_path / "model"))), error.value


def test_nothing_is_computed_or_written_of_a_model_without_its_weights(tiny_model, prepared, tmp_path):
    folder = changed(tiny_model, tmp_path / "model", without("model.layers.1."))
    for script, where in (
        ("train_probe", ("--train_data", prepared / "train.pth", "--output_dir", tmp_path / "probes")),
        ("check_setup", ()),
    ):
        results = ("--results_dir", tmp_path / "results", "--no_wandb") if where else ()
        result = call(script, "--model_name", folder, "--device", "cpu", *where, *results)
        assert_one_line_error(result, "model.layers.1.", "drawn at random")
    assert snapshot(tmp_path / "probes", tmp_path / "results") == {}


@pytest.mark.parametrize("case", ["prefixed_keys", "layer_missing"])
def test_the_cases_of_missing_weights_are_refused(case, case_model):
    with pytest.raises(UserError, match="of the weights that the pass reads are not in its file"):
        load(case_model(case))


# What may be missing


@pytest.mark.parametrize(
    "change", [without("lm_head"), lambda weights: {**weights, "lm_head.weight": weights["lm_head.weight"][:9].clone()}]
)
def test_a_model_whose_head_is_missing_or_does_not_fit_counts_as_one_without(change, tiny_model, tmp_path):
    whole, headless = load(tiny_model), load(changed(tiny_model, tmp_path / "model", change))
    assert whole.has_head and not whole.notes
    assert not headless.has_head and headless.lacking_head == ("lm_head.weight",)
    assert "lm_head.weight" in headless.notes[0]
    assert headless.fingerprint == load(tmp_path / "model", "bfloat16").fingerprint != whole.fingerprint
    ids = torch.arange(5, 17)[None]
    for layer, state in states_of(whole, ids).items():
        assert torch.equal(state, states_of(headless, ids)[layer])


def test_without_its_head_a_model_has_no_probability_of_its_own_and_promotes_no_tokens(tiny_model, prepared, tmp_path):
    changed(tiny_model, tmp_path / "model", without("lm_head"))
    found = {}
    for name, model in (("whole", tiny_model), ("headless", tmp_path / "model")):
        out = ("--output_dir", tmp_path / name / "probes", "--results_dir", tmp_path / name, "--no_wandb", "--epochs", "1")
        data = ("--train_data", prepared / "train.pth", "--layer_sweep", "2,final_norm")
        result = assert_success(call("train_probe", "--model_name", model, "--device", "cpu", *data, *out))
        entries = json.loads((tmp_path / name / "directions.json").read_text())["entries"]
        promoted = [entry["filter"] for entry in entries]
        baselines = (tmp_path / name / "baselines.csv").read_text()
        found[name] = ("does not hold its head" in result.stdout, "own probability" in baselines, None in promoted)
    assert found == {"whole": (False, True, False), "headless": (True, False, True)}


def test_the_case_of_a_missing_head(case_model):
    assert not load(case_model("head_missing")).has_head


def test_tied_weights_and_unknown_heads_are_not_missing(tmp_path):
    model = tiny_models.make("gemma3_text")
    assert model.config.tie_word_embeddings
    model.save_pretrained(tmp_path / "tied")
    assert load(tmp_path / "tied").has_head
    more = changed(tmp_path / "tied", tmp_path / "more", lambda weights: {**weights, "score.weight": torch.ones(2, 32)})
    assert load(more).fingerprint == load(tmp_path / "tied").fingerprint


# What counts for the fingerprint


# of the commit before only what the pass reads counted: a probe that names one of these must still be accepted
FORMER = {"demo": "55103bef7d17f271", "stories260K": "78a5d53cc2c1566a"}


def test_the_fingerprint_of_a_causal_model_is_what_it_always_was():
    language_model = load(ROOT / "demo" / "model")
    assert language_model.fingerprint == language_model.former_fingerprint == FORMER["demo"] and not language_model.unused


def test_and_that_of_a_trained_one(stories260K):
    assert {load(stories260K, dtype).fingerprint for dtype in ("float32", "bfloat16")} == {FORMER["stories260K"]}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A BERT whose every number is given, so that its fingerprint is the same everywhere; with a pooler."""
    model = tiny_models.make("bert")
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters(), 1):
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) % 17 / (8 * number) - 1 / number)
    folder = tmp_path_factory.mktemp("encoder")
    model.save_pretrained(folder)
    return folder


def test_only_what_the_pass_reads_counts(encoder, tmp_path):
    def more_of(part):
        return lambda weights: {name: value + 1 if part in name else value for name, value in weights.items()}

    here = load(encoder)
    assert here.unused == ("pooler.dense.weight", "pooler.dense.bias")
    other = changed(encoder, tmp_path / "other", more_of("pooler"))
    bare = changed(encoder, tmp_path / "bare", without("pooler"))
    assert {load(folder).fingerprint for folder in (other, bare, bare)} == {here.fingerprint}
    for number, part in enumerate(("word_embeddings", "position_embeddings", "layer.0.output.dense.bias", "layer.3")):
        assert load(changed(encoder, tmp_path / f"{number}", more_of(part))).fingerprint != here.fingerprint, part


def test_a_probe_of_a_former_version_is_accepted_where_its_pooler_was_in_the_file(encoder, tmp_path):
    here = load(encoder)
    probes = {
        name: {"model_fingerprint": name, "model": "some/bert"} for name in (here.fingerprint, here.former_fingerprint)
    }
    assert here.former_fingerprint == "22f5093c5fa099f4" != here.fingerprint
    assert all(check_model_of_probe("probe.pth", probe, here).passed for probe in probes.values())
    assert here.named_in([here.former_fingerprint, "another"]) == here.former_fingerprint
    assert here.named_in([here.former_fingerprint, here.fingerprint]) == here.named_in(["another"]) == here.fingerprint
    bare = load(changed(encoder, tmp_path / "bare", without("pooler")))
    former = probes[here.former_fingerprint]
    assert not check_model_of_probe("probe.pth", former, bare).passed, "its pooler was drawn at random"


def test_the_case_of_no_pooler_is_one_model_at_each_loading(case_model):
    first, second = load(case_model("no_pooler")), load(case_model("no_pooler"))
    assert first.fingerprint == second.fingerprint
    assert first.former_fingerprint != second.former_fingerprint, "there is no random pooler, so this proves nothing"


def test_finding_what_is_read_leaves_no_trace(case_model):
    language_model = load(case_model("switching_attention"))
    assert language_model.unused == ("pooler.weight", "pooler.bias")
    assert language_model.body.attention_type == "block_sparse", "eight tokens have switched it for good"


def test_towers_and_decoders_that_read_no_text_do_not_count(tmp_path):
    several, decoder = tiny_models.make("gemma3"), tiny_models.make("t5")
    unused = {name.split(".")[1] for name in wrap(several).unused}
    assert unused == {"vision_tower", "multi_modal_projector"}
    assert {name.split(".")[0] for name in wrap(decoder).unused} == {"decoder"}
    decoder.save_pretrained(tmp_path / "t5")
    encoder = changed(tmp_path / "t5", tmp_path / "encoder", without("decoder"))
    assert load(encoder).fingerprint == load(tmp_path / "t5").fingerprint


def test_what_stands_between_the_last_norm_and_the_head_counts_with_the_head():
    model = tiny_models.make("opt", word_embed_proj_dim=16)
    assert model.model.decoder.project_out is not None and not wrap(model).unused
    assert "decoder.project_out.weight" in wrap(model.model).unused


def test_a_buffer_in_the_file_counts(tmp_path):
    model = tiny_models.make("llama")
    before = wrap(model).fingerprint
    model.model.layers[1].register_buffer("scale", torch.ones(3))
    one = wrap(model).fingerprint
    model.model.layers[1].scale += 1
    assert len({before, one, wrap(model).fingerprint}) == 3


# What is read of models that are not plain language models


def test_the_text_tower_of_a_model_of_texts_and_pictures_is_read(case_model):
    from transformers import CLIPTextModel

    language_model, ids = load(case_model("text_and_picture")), torch.arange(5, 35)[None]
    theirs = CLIPTextModel.from_pretrained(case_model("text_and_picture")).eval()
    with torch.no_grad():
        expected = theirs(input_ids=ids, output_hidden_states=True).hidden_states
    ours = states_of(language_model, ids)
    assert language_model.anatomy.causal and not language_model.has_head
    tiny_models.close(ours["embed"], expected[0][0])
    for layer in range(2):
        tiny_models.close(ours[layer], expected[layer + 1][0])
    assert not any("vision" in name for name, _ in language_model.model.named_parameters())


def test_a_model_whose_configuration_asks_for_tuples_is_read(case_model):
    from transformers import AutoModelForCausalLM

    folder, ids = case_model("tuples"), torch.arange(5, 35)[None]
    theirs = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        output = theirs.model(input_ids=ids, output_hidden_states=True)
        logits = theirs.lm_head(output[0])[0]
    assert type(output) is tuple, "the model gives no tuples, so this proves nothing"
    expected = output[-1]
    language_model = load(folder)
    ours = states_of(language_model, ids)
    for layer, index in (("embed", 0), (0, 1), (1, 2), (FINAL_NORM, 3)):
        tiny_models.close(ours[layer], expected[index][0])
    target = torch.full((30,), 7)
    own = own_logits(language_model, ours[FINAL_NORM], target)
    tiny_models.close(own, torch.logit(logits.double().softmax(-1)[:, 7]).float())
    assert language_model.has_head and json.loads((folder / "config.json").read_text())["return_dict"] is False


@pytest.mark.parametrize(
    "case, needles",
    [("speech", ["WhisperEncoder", "input_features"]), ("characters", ["CanineModel", "characters", "vocab_size"])],
)
def test_what_cannot_be_read_is_said_in_one_line(case, needles, case_model):
    assert_one_line_error(call("check_setup", "--model_name", case_model(case), "--device", "cpu"), *needles)


def test_check_setup_says_which_weights_are_read(encoder, tmp_path):
    import helpers

    helpers.make_tokenizer(encoder, vocabulary=300)
    result = call("check_setup", "--model_name", encoder, "--device", "cpu")
    assert re.search(
        r"weights: every weight that the pass reads is in the file; .* 2 of .*pooler\.dense\.bias", result.stdout
    )
