"""Label texts that are at hand, without a file: what a notebook needs before it can read states."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast

from utils.data.preparation.dataset_files import about_tokenizer, sequences_of_windows
from utils.data.sequences import Sequences
from utils.data.tokenizer import encode_batch, special_frame, target_in_running_text
from utils.data.windows import label_by_token, windows_side_by_side


def label_texts(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], target: str, width: int = 128, min_context: int = 16
) -> Sequences:
    """Cut texts into windows of `width` tokens and ask of every token whether it is the target.

    target: one token as it stands in running text, such as " the"; min_context: tokens of a window before its first
    labelled one. Each text is a document and a group of its own, and the default lag is -1.
    """
    frame, token = special_frame(tokenizer), target_in_running_text(tokenizer, target)
    rows = [
        (window, number, number)
        for number, ids in enumerate(encode_batch(tokenizer, list(texts)))
        for window in windows_side_by_side(ids, label_by_token(ids, token), width, min_context)
    ]
    sequences, names = sequences_of_windows(rows, frame), [f"text {number}" for number in range(len(texts))]
    about = {"targets": [{"name": target, "token": token}], "default_lag": -1, "documents": names, "groups": names}
    sequences.metadata = {"tokenizer": about_tokenizer(tokenizer, frame), **about}
    return sequences
