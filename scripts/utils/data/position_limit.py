"""How many tokens a model can read at once: what its configuration says, and the rows of its table of positions."""

from typing import Any

from utils.base.hub import base_of, loading

COUNTS = ("max_position_embeddings", "n_positions", "max_seq_len")  # what configurations call it


def position_limit(name: str, trust_remote_code: bool = False) -> int | None:
    """Return the most tokens a sequence of this model may have, special tokens included; None where nothing limits it."""
    with loading("model's configuration", name, "--model_name"):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(base_of(name), trust_remote_code=trust_remote_code)
        text = config.get_text_config()
        limits = [getattr(text, key, None) for key in COUNTS]
        limit = min((value for value in limits if isinstance(value, int) and value > 0), default=None)
        return limit and limit - rows_before_first_position(config, limit)


def rows_before_first_position(config: Any, rows: int) -> int:
    """Count the rows of the table of positions, which has so many, that hold none.

    In RoBERTa and its kin the table has a padding row, and the first token's position is the row after that. Only the
    model's own code says so: it is built without weights, on the meta device. Rotary models have no table.
    """
    import torch
    from transformers import MODEL_MAPPING, AutoModel

    if getattr(config.get_text_config(), "rope_parameters", None) or type(config) not in MODEL_MAPPING:
        return 0
    with torch.device("meta"):
        model = AutoModel.from_config(config, trust_remote_code=False)
    padding = [
        module.padding_idx
        for name, module in model.named_modules()
        if "pos" in name.rpartition(".")[2]
        and len(getattr(module, "weight", ())) == rows
        and getattr(module, "padding_idx", None) is not None
    ]
    return max(padding, default=-1) + 1
