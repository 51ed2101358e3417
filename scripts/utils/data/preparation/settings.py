"""What one run of prepare_data is asked to do: which texts it reads, how it labels and cuts them, where it writes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from utils.data.label_rule import LabelRule

FROM_A_FILE = {"input": None, "context_length": None, "max_texts": None, "split_column": "split", "splits": "all"}
LABELLED_TEXT = {"label": "all", "onset_only": False, "onset_negatives": "others", "within": None, "overlap": None}
READ_BY = {  # {task: {flag: default}}; a flag that no task has here is read by every task
    "token": {
        "dataset": "manu/project_gutenberg",
        "dataset_config": None,
        "text_column": "text",
        "language": "en",
        "max_texts": 1000,
        "target_token": " the",
        "context_length": 256,
        "positions": "sampled",
        "min_context": 16,
        "max_chunks_per_class": 50000,
        "split_column": "split",
        "splits": "all",
    },
    "spans": {**FROM_A_FILE, **LABELLED_TEXT, "text_column": "text", "group_by": None, "add_generation_prompt": False},
    "chains": {**FROM_A_FILE, **LABELLED_TEXT},
    "documents": {
        **FROM_A_FILE,
        "datasets": "all",
        "text_column": "text",
        "label_column": "label",
        "group_column": None,
        "label_expression": "col",
        "as_published": False,
        "truncation_side": None,
        "add_generation_prompt": False,
    },
}
OF_SPLITS = ("split_column", "splits")  # recorded where they are not the default, as is the configuration of a dataset
RECORDED = {  # {task: what the metadata say of its file, in this order}
    "spans": (
        "input",
        "max_texts",
        "special_tokens",
        "label",
        "text_column",
        "group_by",
        "add_generation_prompt",
        *OF_SPLITS,
    ),
    "chains": ("input", "max_texts", "special_tokens", "label", *OF_SPLITS),
    "documents": (
        "input",
        "max_texts",
        "special_tokens",
        "datasets",
        "text_column",
        "label_column",
        "group_column",
        "label_expression",
        "add_generation_prompt",
        *OF_SPLITS,
    ),
}


@dataclass(frozen=True)
class PlainTexts:
    """The texts of --task token: a Hub dataset or local files (`dataset`); `language` is the dataset's split.

    split_column, splits  as of an annotated file
    dataset_config        which of the dataset's configurations, where it has several
    """

    dataset: str
    text_column: str
    language: str
    max_texts: int | None
    special_tokens: Literal["text", "encode"] = "text"
    split_column: str = "split"
    splits: str | list[str] = "all"
    dataset_config: str | None = None

    @property
    def recorded(self) -> dict:
        """What the metadata say of the texts; of splits and configurations only what is not the default."""
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name not in (*OF_SPLITS, "dataset_config") or getattr(self, item.name) != item.default
        }


@dataclass(frozen=True)
class AnnotatedFile:
    """The annotated file of --task spans, chains or documents, and what its reader is told.

    label, datasets  the targets that are asked for: names, or "all"; datasets: tags of an index
    special_tokens   what a special token is that a text spells out; None: the token in conversations, else text
    add_generation_prompt  whether a conversation ends with the beginning of the model's next answer
    split_column     the key or column that names each text's split; "none": splits are not read
    splits           the published splits that are used, as ["train", "holdout=test"], or "all"
    given            the flags that the user gave, of those that only an index or only a single table has a use for
    """

    task: str
    input: str
    max_texts: int | None = None
    special_tokens: Literal["text", "encode"] | None = None
    label: str | list[str] = "all"
    text_column: str = "text"
    group_by: str | None = None
    datasets: str | list[str] = "all"
    label_column: str = "label"
    group_column: str | None = None
    label_expression: str = "col"
    as_published: bool = False
    add_generation_prompt: bool = False
    split_column: str = "split"
    splits: str | list[str] = "all"
    given: tuple[str, ...] = ()

    @classmethod
    def from_metadata(cls, task: str, source: Mapping) -> "AnnotatedFile":
        """The file that a dataset was made from, read again with the same flags. source: the metadata's "source"."""
        known = {item.name for item in fields(cls)}
        return cls(**{"task": task, **{name: value for name, value in source.items() if name in known}})


@dataclass(frozen=True)
class TokenWindows:
    """How --task token cuts running text into windows of `context_length` + 1 tokens.

    positions             "sampled": a window ends at each drawn token; "all": windows tile the text
    min_context           with positions "all": text tokens before the first labelled one of a window
    max_chunks_per_class  windows of each class, all splits together
    """

    context_length: int
    positions: Literal["sampled", "all"]
    min_context: int
    max_chunks_per_class: int

    @property
    def width(self) -> int:
        return self.context_length + 1


@dataclass(frozen=True)
class TextWindows:
    """How an annotated text is cut into windows of at most `context_length` + 1 tokens.

    context_length   None: as many as the model takes (`dataset_files.fitting_length`)
    overlap          tokens that each token has before and after it in its window; None: texts are truncated instead
    truncation_side  "right" or "left": where a document loses what is too long; None where texts are cut into windows, or
                     until it is settled: conversations lose their beginning, other texts their end
    """

    context_length: int | None
    overlap: int | None
    truncation_side: str | None = None

    @property
    def width(self) -> int:
        """Text tokens of a full window. Raises ValueError while context_length is not settled."""
        if self.context_length is None:
            raise ValueError("the context length is not settled yet")
        return self.context_length + 1


@dataclass(frozen=True)
class TokenPreparation:
    """One run of --task token."""

    model_name: str
    texts: PlainTexts
    target_token: str
    windows: TokenWindows
    train_ratio: float
    seed: int
    output_dir: str
    trust_remote_code: bool = False

    @property
    def task(self) -> str:
        return "token"


@dataclass(frozen=True)
class AnnotatedPreparation:
    """One run of --task spans, chains or documents."""

    model_name: str
    file: AnnotatedFile
    rule: LabelRule
    windows: TextWindows
    train_ratio: float
    seed: int
    output_dir: str
    trust_remote_code: bool = False

    @property
    def task(self) -> str:
        return self.file.task
