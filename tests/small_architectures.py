"""A small random model of every architecture that transformers can build without being told its sizes one by one."""

import copy
import inspect

import numpy as np
import torch

from utils.data.sequences import unlabelled_sequences
from utils.states.forward_pass import Pass, read_batches
from utils.states.positions import ReadPlan
from utils.states.sites import every_layer

LAYERS = 3
SIZES = {  # of every configuration that has a field of this name
    97: "vocab_size vocab_size_per_layer_input src_vocab_size tgt_vocab_size text_vocab_size entity_vocab_size",
    32: "hidden_size d_model n_embd dim emb_dim word_embed_proj_dim embedding_size embedding_dim projection_dim "
    "embed_dim entity_emb_size decoder_hidden_size encoder_hidden_size lm_hidden_size index_n_heads",
    48: "intermediate_size encoder_ffn_dim decoder_ffn_dim ffn_dim d_ff d_inner_ff hidden_dim n_inner ffn_hidden_size "
    "shared_intermediate_size intermediate_size_mlp dff dim_ff shared_expert_intermediate_size expert_dim",
    24: "moe_intermediate_size expert_ffn_hidden_size",
    LAYERS: "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_encoder_layers "
    "num_decoder_layers depth layers",
    4: "attention_heads num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads "
    "num_encoder_attention_heads num_decoder_attention_heads num_local_experts num_experts n_routed_experts "
    "moe_num_experts",
    2: "num_key_value_heads num_kv_heads num_experts_per_tok num_experts_per_token moe_topk moe_k n_shared_experts "
    "num_shared_experts eos_token_id eos_index",
    8: "head_dim d_kv qk_nope_head_dim qk_rope_head_dim v_head_dim rotary_dim attention_head_size kv_channels "
    "attention_window attention_chunk_size index_topk chunk_size mamba_chunk_size keep_window_size index_block_size "
    "linear_key_head_dim linear_value_head_dim state_size mamba_d_head mamba_head_dim swa_head_dim "
    "hidden_size_per_layer_input",
    16: "q_lora_rank kv_lora_rank o_lora_rank index_head_dim",
    6: "sliding_window local_attention attention_window_size window_size sliding_window_size",
    128: "max_position_embeddings n_positions n_ctx max_seq_len max_source_positions max_target_positions "
    "max_sequence_length context_length",
    0: "pad_token_id pad_index first_k_dense_replace",
    1: "n_group topk_group bos_token_id bos_index decoder_start_token_id",
}
SMALL = {name: size for size, names in SIZES.items() for name in names.split()}
SMALL |= {"use_sliding_window": True, "max_window_layers": 1, "local_radius": 4}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
OWN = {  # model_type -> fields that the names above do not give; "default": as transformers has it
    "bamba": {"mamba_n_heads": 8},
    "bart": {"encoder_layers": 5, "is_decoder": True, "is_encoder_decoder": False},  # a decoder alone
    "big_bird": {"block_size": 4, "num_random_blocks": 1, "attention_type": "block_sparse"},
    "bigbird_pegasus": {"block_size": 4, "num_random_blocks": 1},
    "cosmos3_edge_text": {"rope_parameters": MROPE},
    "dots3_note_text": {"num_key_value_heads": 4},
    "esmc": {"num_key_value_heads": 4},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 0,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "laurel_rank": 4,
        "activation_sparsity_pattern": [0.0] * 4,
    },
    "glm4v_moe_text": {"rope_parameters": {**MROPE, "mrope_section": [1, 1, 0]}},
    "glm4v_text": {"rope_parameters": MROPE},
    "glm_image_text": {"rope_parameters": MROPE},
    "glm_ocr_text": {"rope_parameters": MROPE},
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]], "window_size": 6},
    "granitemoehybrid": {"mamba_n_heads": 8},
    "hunyuan_vl_text": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "xdrope_section": [1, 1, 1, 1]}},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"]},
    "minimax": {"block_size": 8},
    "pegasus_x": {"block_size": 8},
    "mamba2": {"num_heads": 8, "n_groups": 2},
    "mistral4": {"head_dim": 16},
    "mobilebert": {"embedding_size": 16, "true_hidden_size": 16, "intra_bottleneck_size": 16},
    "paddleocr_vl_text": {"rope_parameters": MROPE},
    "qwen2_5_vl_text": {"rope_parameters": MROPE},
    "qwen2_vl_text": {"rope_parameters": MROPE},
    "zamba2": {"layers_block_type": ["mamba", "hybrid", "mamba"]},
}
LENGTHS = (40, 27, 33)  # beyond every window above
PASSED_OVER = 5  # the first ids are special


def fields_of(kind):
    """The fields of a configuration and of those inside it."""
    default = kind()
    named = set(default.to_dict()) | set(kind.attribute_map)
    fields = {name: size for name, size in SMALL.items() if name in named and name not in kind.attribute_map}
    for name, part in kind.sub_configs.items():
        there = getattr(default, name, None)
        if part.__name__ != "AutoConfig":
            fields[name] = fields_of(part)
        elif hasattr(there, "model_type"):
            fields[name] = {"model_type": there.model_type, **fields_of(type(there))}
    if "kv_lora_rank" in named:  # latent attention has as many keys as queries
        fields["num_key_value_heads"] = SMALL["num_attention_heads"]
    changes = OWN.get(kind.model_type, {})
    return {name: value for name, value in {**fields, **changes}.items() if value != "default"}


def build(name, **more):
    """A random model of this model_type in eval mode: with its head where it can be causal."""
    from transformers import CONFIG_MAPPING, AutoModel, AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    torch.manual_seed(0)
    kind = CONFIG_MAPPING[name]
    loader = AutoModelForCausalLM if name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else AutoModel
    model = loader.from_config(kind(**{**fields_of(kind), **more})).eval()
    with torch.no_grad():  # large enough weights that every token and layer matters
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.2)
    return model


def token_ids(vocabulary, lengths=LENGTHS):
    """Random sequences of these lengths."""
    random = np.random.default_rng(0)
    return [random.integers(PASSED_OVER, min(vocabulary, 90), size=length).tolist() for length in lengths]


def read_everything(language_model, sequences):
    """{layer: a list of [tokens, hidden_size], one a sequence}, read in one padded batch."""
    framed = unlabelled_sequences(sequences)
    sequence, position = np.nonzero(np.arange(framed.input_ids.shape[1]) < framed.lengths[:, None])
    layers = every_layer(language_model.anatomy)
    found = {layer: [] for layer in layers}
    for layer, _, values in read_batches(Pass(language_model, framed, ReadPlan(sequence, position, tuple(layers)), 3)):
        found[layer].append(values)
    return {layer: torch.cat(values).split([len(ids) for ids in sequences]) for layer, values in found.items()}


@torch.inference_mode()
def transformers_states(body, ids):
    """transformers' own hidden_states of one sequence, nothing padded: a list of [tokens, hidden_size]."""
    published = asked(body, input_ids=torch.tensor([ids]))
    return None if published is None else [arranged(state, len(ids))[0] for state in published]


@torch.inference_mode()
def transformers_batch(body, sequences):
    """transformers' own hidden_states of one padded batch: a list of [batch, tokens, hidden_size]."""
    width = max(map(len, sequences))
    input_ids = torch.tensor([ids + [0] * (width - len(ids)) for ids in sequences])
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in sequences])
    return [arranged(state, width) for state in asked(body, input_ids=input_ids, attention_mask=mask)]


def asked(body, **given):
    """What a copy of the body returns: a model that changes while it reads must not change the next answer."""
    copied = copy.deepcopy(body)
    for part in copied.modules():
        if hasattr(part, "config") and getattr(part.config, "use_cache", False):
            part.config.use_cache = False
    if "return_dict" in inspect.signature(copied.forward).parameters:
        given["return_dict"] = True
    return getattr(copied(**given, output_hidden_states=True), "hidden_states", None)


def arranged(state, tokens):
    """[batch, tokens, hidden_size]; of pairs the first, of streams the first."""
    state = state[0] if isinstance(state, tuple) else state
    if state.ndim == 4:
        state = state[0] if state.shape[2] == tokens else state[:, :, 0]
    return state[:, :tokens].float()


def distance(ours, theirs):
    """The norm of the difference at the worst token, relative to that of theirs."""
    return float(((ours.double() - theirs.double()).norm(dim=-1) / theirs.double().norm(dim=-1).clamp(min=1e-30)).max())
