"""The language model: loading, precision, device, its fingerprint, and its own probability of a token."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from utils.base.errors import UserError, is_out_of_memory
from utils.base.files import fingerprint
from utils.base.hub import loading
from utils.model.anatomy import Anatomy, examine

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
WEIGHTS_SAMPLED = 64  # of each parameter, for the fingerprint
WEIGHTS_AT_A_TIME = 2**22  # added up together, so that no second copy of a large matrix is made
LOGIT_BYTES = 2**28  # how much memory logits over the vocabulary may take at a time


@dataclass
class LanguageModel:
    """A loaded model with what the pass needs to know of it.

    model: as loaded, with its language-model head where it has one; body: what is run, without the head.
    """

    name: str
    model: "PreTrainedModel"
    body: "PreTrainedModel"
    anatomy: Anatomy
    fingerprint: str
    largest_batch: int | None = None  # known to fit into memory, once a larger one has not

    @property
    def device(self) -> torch.device:
        return next(self.body.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.body.parameters()).dtype

    @property
    def vocabulary(self) -> int:
        return self.model.get_input_embeddings().num_embeddings

    @property
    def has_head(self) -> bool:
        return self.model is not self.body and self.model.get_output_embeddings() is not None


def load_language_model(name: str, dtype: str = "auto", device: str = "auto") -> LanguageModel:
    """Load a model by Hub name or folder: a causal model with its head, any other without."""
    chosen = choose_device(device)
    precision = choose_dtype(dtype, chosen)
    with loading("model", name, "--model_name"):
        from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

        config = AutoConfig.from_pretrained(name)
        causal = set(config.architectures or ()) & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
        loader = AutoModelForCausalLM if causal else AutoModel
        try:
            model = loader.from_pretrained(name, dtype=precision).to(chosen)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                f"--model_name {name} does not fit into the memory of {chosen} as {precision}; use a smaller "
                "--model_dtype (bfloat16), another --device or a smaller model"
            ) from error
    return wrap(model, name)


def wrap(model: Any, name: str = "model") -> LanguageModel:
    """A model that is in memory already, made ready for the pass."""
    model.eval().requires_grad_(False)
    body = find_body(model)
    for part in body.modules():  # no key-value cache: nothing is generated
        if hasattr(part, "config") and getattr(part.config, "use_cache", False):
            part.config.use_cache = False
    return LanguageModel(name, model, body, examine(body), model_fingerprint(model))


def find_body(model: Any) -> nn.Module:
    """The model without its language-model head; of an encoder-decoder, the encoder."""
    if model.config.is_encoder_decoder:
        return model.get_encoder()
    if model.base_model is not model or model.get_output_embeddings() is None:
        return model.base_model
    from transformers import PreTrainedModel

    return next(part for part in model.children() if isinstance(part, PreTrainedModel))


def choose_device(name: str) -> torch.device:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).sum().item()
    except (RuntimeError, AssertionError) as error:  # no such device, or not of that number
        raise UserError(
            f"--device {name}: torch cannot use it here; use one of "
            f"{', '.join(kind for kind, there in available.items() if there)}"
        ) from error
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto`: bfloat16 on a CUDA device that supports it, else float32."""
    if name != "auto":
        return DTYPES[name]
    supported = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if supported else torch.float32


def model_fingerprint(model: Any) -> str:
    """Of the configuration and every weight, rounded to bfloat16: a float32 model loaded as bfloat16, on any device, is
    the same model (as float16 it is another: there the weights are rounded twice).

    Of each parameter a sample and the sum of all bit patterns, which is exact in whatever order it is added up.
    """
    samples = [without_passing_things(model.config.to_dict())]
    for name, parameter in sorted(model.named_parameters()):
        flat = parameter.detach().reshape(-1)
        total = sum(int(bits(piece).sum(dtype=torch.int64)) for piece in flat.split(WEIGHTS_AT_A_TIME))
        samples += [name, list(parameter.shape), bits(flat[:: max(1, len(flat) // WEIGHTS_SAMPLED)]).tolist(), total]
    return fingerprint(*samples)


def bits(weights: torch.Tensor) -> torch.Tensor:
    return weights.to(torch.bfloat16).view(torch.int16)


def without_passing_things(config: Any) -> Any:
    """The configuration without what changes from one loading to the next, in its parts too."""
    if not isinstance(config, dict):
        return config
    return {
        key: without_passing_things(value)
        for key, value in config.items()
        if key not in ("_name_or_path", "dtype", "torch_dtype", "transformers_version", "use_cache")
    }


@torch.inference_mode()
def own_logits(language_model: LanguageModel, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The model's own log-odds, float32 [m], that the next token is the target, from its final states.

    states: [m, hidden_size] after the last norm; targets: int [m], token ids. Everything after the last norm is the
    model's own forward (its head, bias, soft-cap, logit scale): only the stack of blocks is stood in for.
    log-odds = z_target - logsumexp(z_others), exact also where the probability rounds to 1.
    """
    anatomy, model = language_model.anatomy, language_model.model
    rows = max(1, LOGIT_BYTES // (8 * language_model.vocabulary))
    result = torch.empty(len(states))
    standing_in = torch.zeros(rows, 1, dtype=torch.long, device=language_model.device)
    real_forward = anatomy.trunk.forward
    try:
        for start in range(0, len(states), rows):
            part = states[start : start + rows, None].to(language_model.device, language_model.dtype)
            anatomy.trunk.forward = lambda *_, part=part, **__: anatomy.output_type(last_hidden_state=part)
            logits = model(input_ids=standing_in[: len(part)]).logits[:, 0].float()
            of_target = targets[start : start + rows].to(logits.device, torch.long)[:, None]
            chosen = logits.gather(1, of_target)[:, 0]
            others = logits.scatter_(1, of_target, -torch.inf).logsumexp(1)
            result[start : start + len(part)] = (chosen - others).cpu()
    finally:
        anatomy.trunk.forward = real_forward
    return result
