"""A checkpoint: its weights, the adapter beside them, and what their loader reports, judged for what the pass reads."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from os.path import commonprefix
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from utils.base.errors import UserError
from utils.base.hub import Adapter
from utils.model.weights import named_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAMES_SHOWN = 3
# buffers that earlier versions of transformers saved, which are no weights
FORMER_BUFFERS = re.compile(r"(masked_bias|attn\.bias|attention\.bias|causal_mask|inv_freq|position_ids)$")
BLOCK_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")  # of a block, say
# what stands before every name when a wrapped model was saved -> what should have been saved
WRAPPERS = {
    "_orig_mod.": "the model before torch.compile, model._orig_mod",
    "module.": "the model inside DataParallel, model.module",
    "base_model.model.": "the model that peft's merge_and_unload gives",
}


@dataclass(frozen=True)
class Report:
    """What the loader says of a checkpoint.

    kind: the model's class; weights: {name: tensor} of it as it was loaded; missing: names that the checkpoint lacks;
    sizes: {name: (shape in the file, shape by config.json)} where these differ; unknown: names in the file that the model
    has no place for; prefix: what stands before the names of a body that has a head, and may stand before others. Weights
    that are missing or of another size are drawn at random.
    """

    kind: str
    weights: Mapping[str, torch.Tensor]
    missing: Collection[str] = ()
    sizes: Mapping[str, tuple] = field(default_factory=dict)
    unknown: Collection[str] = ()
    prefix: str = ""

    @classmethod
    def of(cls, model: nn.Module, info: Mapping[str, Any]) -> "Report":
        """Read what `from_pretrained(..., output_loading_info=True)` returns beside the model."""
        sizes = {name: (tuple(theirs), tuple(ours)) for name, theirs, ours in info["mismatched_keys"]}
        prefix = f"{getattr(model, 'base_model_prefix', '')}."
        return cls(type(model).__name__, named_weights(model), info["missing_keys"], sizes, info["unexpected_keys"], prefix)

    def random(self, tensors: Collection[int]) -> list[str]:
        """Name those of the tensors with these ids that were drawn at random, in order."""
        drawn = {*self.missing, *self.sizes}
        return sorted(name for name, tensor in self.weights.items() if name in drawn and id(tensor) in tensors)

    def unread(self, tensors: Collection[int]) -> list[str]:
        """Name what the file holds beside the tensors with these ids, in the same modules or in further blocks, in order."""
        own = {name for name, tensor in self.weights.items() if id(tensor) in tensors}
        modules = {self.numberless(name).rpartition(".")[0] for name in own}
        blocks = {found for module in modules for found in around_a_number(module)}
        return sorted(
            name
            for name in self.unknown
            if not FORMER_BUFFERS.search(name)
            and ((module := self.numberless(name).rpartition(".")[0]) in modules or blocks & set(around_a_number(module)))
        )

    def numberless(self, name: str) -> str:
        """model.layers.3.mlp.weight -> layers.#.mlp.weight"""
        return BLOCK_NUMBER.sub("#", "." + name.removeprefix(self.prefix) + ".").strip(".")


def around_a_number(module: str) -> list[str]:
    """layers.#.mlp -> [layers.#, layers.#.mlp]: the modules around it of which there are several"""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1) if "#" in parts[:end]]


def load_weights(
    name: str, dtype: torch.dtype, trust_remote_code: bool, with_adapter: bool = False
) -> tuple["PreTrainedModel", Report]:
    """Load a model, and what its loader reports of the checkpoint. with_adapter: an adapter lies beside it."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    config = AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code)
    own = getattr(config, "auto_map", {}).get("AutoModelForCausalLM", "").rpartition(".")[2]
    causal = set(config.architectures or ()) & {own, *MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()}
    loader = AutoModelForCausalLM if causal else AutoModel
    # transformers would load an adapter too, and report on that alone: so it is sent to look where there is none
    elsewhere = {"adapter_kwargs": {"subfolder": "none"}} if with_adapter else {}
    model, info = loader.from_pretrained(
        name,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # else the head that nothing needs would be an error, too; we judge ourselves
        **elsewhere,
    )
    return model, Report.of(model, info)


def add_adapter(model: Any, adapter: Adapter) -> None:
    """Put an adapter into its model, with peft. Raise UserError where its weights do not fit."""
    report = Report.of(model, model.load_adapter(adapter.name).to_dict())
    if report.missing or report.sizes or report.unknown:
        raise UserError(
            f"--model_name {adapter.name}: its adapter ({adapter.kind}) does not fit {adapter.base}: "
            f"{len(report.missing) + len(report.sizes)} of its weights are missing or of another size "
            f"({listed([*report.missing, *report.sizes])}), {len(report.unknown)} have no place ({listed(report.unknown)}); "
            "give the base model that it was trained for"
        )


def refuse_random(name: str, report: Report, needed: Collection[int]) -> None:
    """Raise UserError where weights that the pass reads are not in the checkpoint, or have another size there.

    needed: the ids of the tensors that the pass reads, its head apart.
    """
    wrong = report.random(needed)
    if not wrong:
        return
    if all(key in report.sizes for key in wrong):
        sizes = [f"{key} is {list(report.sizes[key][0])}, not {list(report.sizes[key][1])}" for key in wrong]
        raise UserError(
            f"--model_name {name}: {len(wrong)} weights in its file have not the sizes that its config.json asks for "
            f"({listed(sizes)}); give the config.json that they were saved with"
        )
    unknown = f"; it holds {len(report.unknown)} names that a {report.kind} does not know ({listed(report.unknown)})"
    size = " or have another size there" if report.sizes else ""
    raise UserError(
        f"--model_name {name}: {len(wrong)} of the weights that the pass reads are not in its file{size} ({listed(wrong)}), "
        f"and would be drawn at random{unknown if report.unknown else ''}; {remedy(report.missing, report.unknown)}"
    )


def refuse_unread(name: str, report: Report, needed: Collection[int]) -> None:
    """Raise UserError where the file has more blocks than its config.json says, or more weights in what the pass reads.

    needed: the ids of the tensors that the pass reads, its head apart.
    """
    unread = report.unread(needed)
    if unread:
        raise UserError(
            f"--model_name {name}: its file holds {len(unread)} weights, beside those that the pass reads, for which a "
            f"{report.kind} by this config.json has no place ({listed(unread)}), so another model would be read; give the "
            "config.json that they were saved with"
        )


def listed(names: Collection[str]) -> str:
    """A few of the names, in order."""
    return ", ".join(sorted(names)[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")


def remedy(missing: Collection[str], unknown: Collection[str]) -> str:
    """Say what to do about names that are missing: where all unknown ones begin alike, that is what is wrong with them."""
    prefix = commonprefix(sorted(unknown)) if unknown else ""
    prefix = next((known for known in WRAPPERS if prefix.startswith(known)), prefix[: prefix.rfind(".") + 1])
    if prefix and {prefix + name for name in missing} & set(unknown):
        instead = f": save {WRAPPERS[prefix]}" if prefix in WRAPPERS else ""
        return f"all names in the file begin with {prefix!r}; save it again without that{instead}"
    if unknown:
        return "give the config.json that the weights were saved with, or weights of this architecture"
    return "give a complete checkpoint"
