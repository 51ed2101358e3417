"""The language model: loading, precision, device, its fingerprint, and its own probability of a token."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from utils.base.errors import UserError, is_out_of_memory
from utils.base.hub import Adapter, find_adapter, loading
from utils.model.anatomy import Anatomy, examine
from utils.model.checkpoint import Report, add_adapter, listed, load_weights, refuse_random, refuse_unread
from utils.model.fingerprint import model_fingerprints
from utils.model.weights import named_weights, weights_of_pass

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
LOGIT_BYTES = 2**28  # how much memory logits over the vocabulary may take at a time


@dataclass
class LanguageModel:
    """A loaded model with what the pass needs to know of it.

    model: as loaded, with its language-model head where it has one; body: what is run, without the head.
    fingerprint: of what the pass reads; former_fingerprint: by which former versions' probes name it.
    unused: names of weights that the pass does not read.
    lacking_head: names of weights of the head that are not in its file: it counts as a model without a head then.
    """

    name: str
    model: "PreTrainedModel"
    body: "PreTrainedModel"
    anatomy: Anatomy
    fingerprint: str
    former_fingerprint: str
    unused: tuple[str, ...] = ()
    lacking_head: tuple[str, ...] = ()
    adapter: Adapter | None = None
    trust_remote_code: bool = False
    largest_batch: int | None = None  # known to fit into memory, once a larger one has not

    @property
    def device(self) -> torch.device:
        return next(self.body.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.body.parameters()).dtype

    @property
    def vocabulary(self) -> int:
        try:
            return self.model.get_input_embeddings().num_embeddings
        except NotImplementedError:  # transformers does not know where some text towers keep them
            return self.body.config.get_text_config().vocab_size

    @property
    def has_head(self) -> bool:
        return self.model is not self.body and self.model.get_output_embeddings() is not None

    @property
    def source(self) -> str:
        """The folder or Hub name of its configuration and weights: of an adapter alone, that of its base."""
        return self.adapter.base if self.adapter else self.name

    @property
    def against_overflow(self) -> str:
        """What helps where states are not finite: other weights, or a precision that reaches further."""
        narrow = self.dtype == torch.float16  # a weight of the file may have overflowed there
        sound = (lambda weight: ~weight.isnan()) if narrow else torch.isfinite
        broken = [name for name, weight in self.body.named_parameters() if not sound(weight).all()]
        if broken:
            return (
                f"{len(broken)} of the weights in its file are not finite themselves ({listed(broken)}): get the model again"
            )
        wider = {torch.float16: "use --model_dtype bfloat16 or float32", torch.bfloat16: "use --model_dtype float32"}
        return wider.get(self.dtype, "choose another model")

    @property
    def notes(self) -> list[str]:
        """What a user should know of how it was loaded, a line each."""
        found = []
        if self.lacking_head:
            found.append(
                f"the file of {self.name} does not hold its head ({listed(self.lacking_head)}): its own probability and the "
                "tokens that a direction promotes are not computed"
            )
        if self.adapter:
            found.append(f"{self.name} holds an adapter, loaded with peft: {self.adapter}")
        if self.trust_remote_code:
            found.append("--trust_remote_code: Python code that comes with the model may run")
        return found

    @property
    def why_no_logits(self) -> str:
        """Say why no logits of the next token can be computed from its final states; "" where they can."""
        reasons = {
            "it has no language-model head": not self.has_head,
            "its tokens see later ones": not self.anatomy.causal,
            "it has no last norm": self.anatomy.final_norm is None,
            "what it gives has no last_hidden_state": self.anatomy.output_type is None,
        }
        return next((reason for reason, there in reasons.items() if there), "")

    def named_in(self, fingerprints: Iterable[str]) -> str:
        """Give the fingerprint by which files name this model: where none has today's, the former one if that is there."""
        found = set(fingerprints)
        return (
            self.former_fingerprint
            if self.fingerprint not in found and self.former_fingerprint in found
            else self.fingerprint
        )


def load_language_model(
    name: str, dtype: str = "auto", device: str = "auto", trust_remote_code: bool = False
) -> LanguageModel:
    """Load a model by Hub name or folder: a causal model with its head, any other without; with the adapter it holds.

    trust_remote_code: run the Python code that comes with it. Raises UserError where the checkpoint lacks weights that the
    pass reads.
    """
    chosen = choose_device(device)
    precision = choose_dtype(dtype, chosen)
    with loading("model", name, "--model_name"):
        adapter = find_adapter(name)
        try:
            model, report = load_weights(adapter.base if adapter else name, precision, trust_remote_code, bool(adapter))
            model = model.to(chosen)
            if adapter:
                add_adapter(model, adapter)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                f"--model_name {name} does not fit into the memory of {chosen} as {precision}; use a smaller "
                "--model_dtype (bfloat16), another --device or a smaller model"
            ) from error
    return replace(wrap(model, name, report), trust_remote_code=trust_remote_code, adapter=adapter)


def wrap(model: Any, name: str = "model", report: Report | None = None) -> LanguageModel:
    """A model that is in memory already, made ready for the pass. report: what its loader said of the checkpoint."""
    model = text_tower(model.eval().requires_grad_(False))
    body = find_body(model)
    require_tokens(body, name)
    for part in model.modules():  # no key-value cache, for nothing is generated; and outputs with names, not tuples
        if hasattr(part, "config"):
            prepare_config(part.config)
    anatomy = examine(body)
    has_head = model is not body and model.get_output_embeddings() is not None
    used, lacking = weights_of_pass(body, anatomy, has_head), []
    if has_head:
        head = {id(tensor) for tensor in named_weights(model).values()} - {
            id(tensor) for tensor in named_weights(body).values()
        }
        lacking = report.random(head) if report else []
        used |= head
    if lacking:
        model = body
    if report:
        needed = {id(tensor) for tensor in named_weights(body).values()} & used
        refuse_random(name, report, needed)
        refuse_unread(name, report, needed)
    unused = tuple(key for key, tensor in named_weights(model).items() if id(tensor) not in used)
    return LanguageModel(name, model, body, anatomy, *model_fingerprints(model, unused), unused, tuple(lacking))


def prepare_config(config: Any) -> None:
    if getattr(config, "use_cache", False):
        config.use_cache = False
    if getattr(config, "return_dict", True) is False:
        config.return_dict = True


def text_tower(model: Any) -> Any:
    """The part that reads text alone, of a model that compares texts with pictures or sounds; of any other, all of it."""
    from transformers import PreTrainedModel

    try:
        text = model.config.get_text_config()
    except ValueError as error:
        raise UserError(
            f"a {type(model).__name__} is made of several models of text; give one of them as a model of its own"
        ) from error
    if text is model.config or not (hasattr(model, "get_text_features") or model.main_input_name != "input_ids"):
        return model
    towers = (part for part in model.modules() if isinstance(part, PreTrainedModel) and type(part.config) is type(text))
    return next(towers, model)


def require_tokens(body: Any, name: str) -> None:
    """Raise UserError for a model that does not read tokens."""
    kind, taken = type(body).__name__, getattr(body, "main_input_name", "input_ids")
    if taken != "input_ids":
        raise UserError(
            f"--model_name {name}: a {kind} reads {taken}, not the ids of tokens, so it cannot be given a text; choose a "
            "model of text"
        )
    config = getattr(body, "config", None)
    if not isinstance(config and getattr(config.get_text_config(), "vocab_size", None), int):
        raise UserError(
            f"--model_name {name}: a {kind} names no vocabulary (vocab_size in its config.json): it reads characters or "
            "bytes and has no tokens whose states could be read; choose a model that reads tokens"
        )


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


@torch.inference_mode()
def own_logits(language_model: LanguageModel, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The model's own log-odds, float32 [m], that the next token is the target, from its final states.

    states: [m, hidden_size] after the last norm; targets: int [m], token ids.
    log-odds = z_target - logsumexp(z_others), exact also where the probability rounds to 1.
    """
    rows = max(1, LOGIT_BYTES // (8 * language_model.vocabulary))
    result = torch.empty(len(states))
    for start in range(0, len(states), rows):
        part = slice(start, start + rows)
        logits = logits_after(language_model, states[part])
        of_target = targets[part].to(logits.device, torch.long)[:, None]
        chosen = logits.gather(1, of_target)[:, 0]
        others = logits.scatter_(1, of_target, -torch.inf).logsumexp(1)
        result[part] = (chosen - others).cpu()
    return result


@torch.inference_mode()
def logits_after(language_model: LanguageModel, states: torch.Tensor) -> torch.Tensor:
    """Compute the logits of the next token, float32 [m, vocabulary], from final states [m, hidden_size].

    Everything after the last norm is the model's own forward (its head, bias, soft-cap, logit scale): only the stack of
    blocks is stood in for. Not to be called where the model has why_no_logits.
    """
    anatomy, model, device = language_model.anatomy, language_model.model, language_model.device
    given = anatomy.output_type(last_hidden_state=states[:, None].to(device, language_model.dtype))
    real_forward = anatomy.trunk.forward
    anatomy.trunk.forward = lambda *_, **__: given
    try:
        return model(input_ids=torch.zeros(len(states), 1, dtype=torch.long, device=device)).logits[:, 0].float()
    finally:
        anatomy.trunk.forward = real_forward
