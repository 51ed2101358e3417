"""Do model, tokenizer, data and probes belong together? One proof for every script that brings them together."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from utils.base.checks import Check
from utils.base.errors import UserError
from utils.data.position_limit import position_limit
from utils.data.sequences import Sequences
from utils.data.tokenizer import tokenizer_fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from utils.model.language_model import LanguageModel


def require(*checks: Check) -> None:
    """Raise UserError for the first check that has not passed."""
    for check in checks:
        if check.passed is False:
            raise UserError(f"{check.detail}; {check.remedy}")


def check_tokenizer_of_data(
    path: str, splits: Mapping[str, Sequences], name: str, tokenizer: "PreTrainedTokenizerBase"
) -> Check:
    """Compare the tokenizer that the data were made with and that of the model called `name`."""
    data = next(iter(splits.values()))
    theirs, ours = data.tokenizer_fingerprint, tokenizer_fingerprint(tokenizer)
    other = "the same one" if theirs == ours else f"another one ({ours})"
    return Check(
        "data's tokenizer",
        theirs == ours,
        f"{path} was made with the tokenizer of {data.model_name} ({theirs}), --model_name {name} has {other}",
        f"prepare the data with --model_name {name}",
    )


def check_length(path: str, splits: Mapping[str, Sequences], name: str, trust_remote_code: bool = False) -> Check:
    """Compare the longest sequence with the positions that the model has."""
    longest = max(int(sequences.lengths.max()) for sequences in splits.values())
    limit = position_limit(name, trust_remote_code)
    return Check(
        "length",
        not limit or longest <= limit,
        f"{path} holds sequences of {longest} tokens, {name} has {limit or 'unlimited'} positions",
        "prepare the data with a smaller --context_length",
    )


def check_ids(path: str, splits: Mapping[str, Sequences], language_model: "LanguageModel") -> Check:
    """Compare the highest token id with the embeddings that the model has."""
    highest, name = max(int(sequences.input_ids.max()) for sequences in splits.values()), language_model.name
    known = highest < language_model.vocabulary
    return Check(
        "ids",
        known,
        f"{path}: token id {highest} is {'the highest' if known else 'out of range'}, {name} knows ids 0 to "
        f"{language_model.vocabulary - 1}",
        f"prepare the data with --model_name {name}",
    )


def check_tokenizer_of_probe(file: str, probe: Mapping, name: str, tokenizer: "PreTrainedTokenizerBase") -> Check:
    """Compare the tokenizer that a probe was trained with and that of the model called `name`. probe: its metadata."""
    theirs, ours = probe["tokenizer_fingerprint"], tokenizer_fingerprint(tokenizer)
    return Check(
        "probe's tokenizer",
        theirs == ours,
        f"{file} was trained with the tokenizer of {probe['model']} ({theirs}), --model_name {name} has another one "
        f"({ours})",
        "give the model that the probes were trained on, as it was",
    )


def check_model_of_probe(file: str, probe: Mapping, language_model: "LanguageModel") -> Check:
    """Compare the model that a probe was trained on with this one. probe: its metadata."""
    theirs, ours = probe["model_fingerprint"], language_model.fingerprint
    return Check(
        "probe's model",
        language_model.named_in([theirs]) == theirs,
        f"{file} was trained on {probe['model']} ({theirs}), --model_name {language_model.name} is another model ({ours})",
        "give the model that the probes were trained on, in its precision",
    )


def check_data_of_probe(path: str, data: Mapping, file: str, probe: Mapping) -> Check:
    """Compare the tokenizers that data were made with and a probe was trained with. data, probe: their metadata."""
    theirs, ours = probe["tokenizer_fingerprint"], data["tokenizer"]["fingerprint"]
    return Check(
        "data's tokenizer",
        theirs == ours,
        f"{path} was made with the tokenizer of {data['model_name']} ({ours}), {file} is of {probe['model']}, whose "
        f"tokenizer is another ({theirs})",
        f"prepare the data with --model_name {probe['model']}",
    )
