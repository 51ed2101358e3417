"""What is found by watching: the blocks, the last norm, how transformers counts its states; and the model is unchanged."""

import copy
from dataclasses import replace

import pytest
import torch
from transformers import AutoModel

import small_architectures
from small_architectures import LAYERS, build, distance, read_everything, token_ids, transformers_states
from utils.base.errors import UserError
from utils.model.anatomy import examine
from utils.model.language_model import wrap
from utils.model.unchanged import same, unchanged
from utils.states.comparison import compare

CLOSE = 1e-4
# model_type -> (what transformers' hidden_states are, whether there is a last norm); E: the embeddings, N: after the norm
EXPECTED = {
    "big_bird": ("E 0 1 2", False),  # a short text switches its attention for good
    "xlm": ("E 0 1 2", False),  # four parallel lists of modules, of which none is a list of blocks
    "nanochat": ("E 0 1 N", True),  # one norm module is called before the blocks and after them
    "mamba": ("0 1 2 N", True),  # no entry for the embeddings
    "roberta-prelayernorm": ("E 0 1 N", True),  # the last norm lies outside the module that owns the blocks
    "longformer": ("E 0 1 2", False),  # pads its input to whole windows
    "xlnet": ("E 0 1 2", False),  # states are [tokens, batch, hidden_size]
    "gemma3n_text": ("E 0 1 2 3", True),  # states are [streams, batch, tokens, hidden_size]
    "bart": ("E 0 1 2", False),  # the configuration counts the other half's layers
    "fnet": ("E 0 1 2", False),  # mixes padding into the text
    "modernbert": ("E 0 1 N", True),
    "rwkv": ("0 1 2 N", True),
    "ctrl": ("E 0 1 N", True),
}


@pytest.fixture(scope="module", params=EXPECTED)
def found(request):
    """(model_type, the model as it was built, the same wrapped)."""
    return request.param, build(request.param), wrap(build(request.param))


def test_states_are_those_of_transformers_in_a_padded_batch_beyond_the_window(found):
    name, fresh, language_model = found
    order, has_norm = EXPECTED[name]
    layers = [{"E": "embed", "N": "final_norm"}.get(word) or int(word) for word in order.split()]
    assert (language_model.anatomy.final_norm is not None) == has_norm
    sequences = token_ids(97)
    ours = read_everything(language_model, sequences)
    for row, ids in enumerate(sequences):
        theirs = transformers_states(body_of(fresh), ids)
        assert len(theirs) == len(layers)
        for layer, state in zip(layers, theirs, strict=True):
            assert distance(ours[layer][row], state) <= CLOSE, (layer, ids)
        for state, following in zip(theirs, theirs[1:], strict=False):
            assert distance(state, following) > 100 * CLOSE, "a layer mistaken for its neighbour would pass"


def body_of(model):
    from utils.model.language_model import find_body

    return find_body(model)


def test_the_last_norm_is_called_after_the_last_block(found):
    """Its output is transformers' last_hidden_state."""
    name, fresh, language_model = found
    if not EXPECTED[name][1]:
        pytest.skip("no last norm")
    ids = token_ids(97)[0]
    with torch.inference_mode():
        last = body_of(fresh)(input_ids=torch.tensor([ids])).last_hidden_state[0]
    assert distance(read_everything(language_model, [ids])["final_norm"][0], last) <= CLOSE


def everything_in(model):
    """What a forward could change, by value."""
    values = {}
    for name, module in model.named_modules():
        values[name] = type(module)
        for key, value in vars(module).items():
            if isinstance(value, (bool, int, float, str, type(None))):
                values[f"{name}.{key}"] = value
    values |= {name: value.clone() for name, value in model.state_dict(keep_vars=True).items()}
    return values, model.config.to_dict()


def test_watching_leaves_no_trace(found):
    name, fresh, _ = found
    body = body_of(copy.deepcopy(fresh))
    before, config = everything_in(body)
    examine(body)
    after, config_after = everything_in(body)
    assert config_after == config and list(after) == list(before)
    for key, value in before.items():
        assert torch.equal(value, after[key]) if isinstance(value, torch.Tensor) else value == after[key], key
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in body.modules())


def test_the_pass_leaves_no_trace():
    """A batch of short texts must not change how the next one is read."""
    language_model = wrap(build("big_bird"))
    long = token_ids(97, (40,))
    before = read_everything(language_model, long)
    read_everything(language_model, token_ids(97, (9,)))
    after = read_everything(language_model, long)
    assert all(torch.equal(before[layer][0], after[layer][0]) for layer in before)


def test_a_block_sparse_model_without_putting_back_would_be_another():
    """The negative control of the test above."""
    body = body_of(build("big_bird"))
    (long,) = token_ids(97, (40,))
    with torch.inference_mode():
        before = body(input_ids=torch.tensor([long])).last_hidden_state
        body(input_ids=torch.tensor([long[:9]]))
        assert distance(body(input_ids=torch.tensor([long])).last_hidden_state, before) > 0.1


def test_what_is_put_back():
    class Restless(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.count, self.seen = torch.nn.Linear(2, 2), 0, [1]
            self.register_buffer("cache", torch.zeros(3))
            self.register_buffer("written", torch.zeros(3))

    module = Restless()
    inner, weight = module.inner, module.inner.weight
    with unchanged(module) as changed:
        module.inner = torch.nn.Linear(3, 3)
        module.count, module.new = 5, "x"
        module.seen.append(2)
        module.register_buffer("cache", torch.ones(7))
        module.written += 1
    assert module.inner is inner and module.inner.weight is weight and module.count == 0 and module.seen == [1]
    assert not hasattr(module, "new") and torch.equal(module.cache, torch.zeros(3)) and not module.written.any()
    assert {"count", "new", "_modules", "_buffers", "seen", "buffer"} <= set(changed)
    with unchanged(module) as changed:
        pass
    assert not changed


def test_a_set_is_the_same_in_whatever_order():
    assert list({0, 8}) != list({8, 0}), "as a copy of a set may have another order"
    assert same({0, 8}, {8, 0}) and not same({0, 8}, {0}) and not same([0, 8], [8, 0])


def test_a_model_that_is_causal_under_a_mask_only_is_not_taken_for_causal():
    """VideoPrism's text tower sees later tokens where it is given no mask, as whole batches are."""
    anatomy = wrap(build("videoprism")).anatomy
    assert anatomy.padding_moves and not anatomy.causal


def refused(name, **more):
    with pytest.raises(UserError) as error:
        wrap(build(name, **more))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_be_read_is_refused_in_one_line():
    assert "CanineModel names no vocabulary" in refused("canine")
    assert "FSMTEncoder names no vocabulary" in refused("fsmt")
    assert "BrosModel does not run on token ids alone (ValueError: You have to specify bbox" in refused("bros")
    assert "cannot find the blocks of a SqueezeBertModel" in refused("squeezebert")
    assert "none of its lists of modules gives the 4 hidden_states" in refused("rwkv", rescale_every=1)


@pytest.mark.parametrize("kind", ["opt", "headless"])
@pytest.mark.parametrize("norm_first", [True, False])
def test_a_last_layer_that_is_shown_only_as_a_projection_of_its_norm_is_compared_by_both(kind, norm_first):
    """OPT's embeddings may be narrower than its states (opt-350m): what it shows last is projected to their size."""
    sizes = {"word_embed_proj_dim": 16, "do_layer_norm_before": norm_first}
    model = build("opt", **sizes) if kind == "opt" else AutoModel.from_config(build("opt", **sizes).config).eval()
    language_model, last = wrap(model), LAYERS - 1
    anatomy = language_model.anatomy
    assert [type(module).__name__ for module in anatomy.closing] == ["LayerNorm"] * norm_first + ["Linear"]
    assert anatomy.final_norm is None and anatomy.published == [-1, *range(last), LAYERS]
    (ids,) = token_ids(97, (40,))
    with torch.inference_mode():
        given, shown = [], body_of(model)(input_ids=torch.tensor([ids]), output_hidden_states=True)
        hook = anatomy.closing[0].register_forward_pre_hook(lambda _module, inputs: given.append(inputs[0][0].clone()))
        body_of(model)(input_ids=torch.tensor([ids]))
    hook.remove()
    ours = read_everything(language_model, [ids])
    assert distance(ours[last][0], given[0]) <= CLOSE
    assert shown.hidden_states[-1].shape[-1] == 16
    for layer, state in zip(["embed", *range(last)], shown.hidden_states, strict=False):
        assert distance(ours[layer][0], state[0]) <= CLOSE
    found = compare(language_model, [ids], [last])
    assert found.passed and found.layers == LAYERS + 1
    language_model.anatomy = replace(anatomy, closing=[*anatomy.closing[:-1], torch.nn.Linear(32, 16)])
    found = compare(language_model, [ids], [last])
    assert not found.passed and found.layer == last, "another projection does not pass"


def test_a_model_that_writes_to_its_weights_is_left_as_it_then_is():
    """RWKV divides its weights when it first reads, and notes that it has: without the note it would divide them again."""
    body = body_of(build("rwkv", rescale_every=1))
    with unchanged(body), torch.inference_mode():
        body(input_ids=torch.arange(8)[None])
    once = {name: value.clone() for name, value in body.state_dict().items()}
    with torch.inference_mode():
        body(input_ids=torch.arange(8)[None])
    assert all(torch.equal(value, once[name]) for name, value in body.state_dict().items())


def test_a_list_that_is_called_in_order_but_is_no_chain_is_not_taken_for_the_blocks():
    """XLM's attention modules are called once a layer each, in order."""
    language_model = wrap(build("xlm"))
    assert len(language_model.anatomy.blocks) == LAYERS
    assert list(language_model.body.attentions) != language_model.anatomy.blocks


def test_the_table_of_sizes_has_each_name_once():
    names = [name for names in small_architectures.SIZES.values() for name in names.split()]
    assert len(names) == len(set(names))
