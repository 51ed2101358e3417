#!/usr/bin/env python3
"""Train demo/model: a small Gemma 3 that reads the docstrings of installed Python libraries.

    python -m venv libraries && libraries/bin/pip install torch transformers scikit-learn scipy pandas ...
    python demo/make_corpus.py --output held_out.jsonl
    python demo/train_model.py --site_packages libraries/lib/python3.11/site-packages --held_out held_out.jsonl

The text that the demo probes must be new to the model. Paragraphs of the libraries that share eight words in a row with
a --held_out corpus are therefore left out.
"""

import json
import math
import random
import sys
import time
from itertools import chain
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))
from docstrings import docstrings_of, paragraphs, shingles  # noqa: E402
from utils.base.cli.parser import Parser, number, quiet_libraries, run, whole_number  # noqa: E402
from utils.base.errors import UserError  # noqa: E402
from utils.base.files import write_json  # noqa: E402
from utils.base.progress import Progress  # noqa: E402

LIBRARIES = [
    "torch",
    "transformers",
    "sklearn",
    "scipy",
    "numpy",
    "pandas",
    "statsmodels",
    "sympy",
    "networkx",
    "matplotlib",
    "astropy",
    "twisted",
    "sqlalchemy",
    "django",
    "mne",
    "obspy",
    "xarray",
    "dask",
    "distributed",
    "skimage",
    "nltk",
    "keras",
    "numba",
    "diffusers",
    "accelerate",
    "peft",
    "datasets",
    "huggingface_hub",
    "pyarrow",
    "polars",
    "bokeh",
    "sphinx",
    "docutils",
    "nibabel",
    "gensim",
    "IPython",
    "tornado",
    "pydantic",
    "hypothesis",
    "trio",
    "celery",
    "optuna",
    "wandb",
    "Bio",
    "yt",
    "pymc",
    "pytensor",
    "werkzeug",
    "pytorch_lightning",
    "torchmetrics",
    "transformer_lens",
    "seaborn",
    "PIL",
    "jupyter_server",
    "pygments",
    "mercurial",
    "fontTools",
    "arviz",
    "aiohttp",
    "botocore",
    "pyramid",
    "fastapi",
    "alembic",
    "kombu",
    "joblib",
    "jedi",
    "narwhals",
    "timm",
    "mpmath",
]
TESTS = {"test", "tests", "testing", "conftest.py"}
CONTEXT = 256
SPECIAL = ("<pad>", "<bos>", "<eos>")
SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "sliding_window": 64,
    "max_position_embeddings": 512,
    "query_pre_attn_scalar": 32,
}


def parse(argv):
    parser = Parser(__file__, __doc__)
    parser.add_argument("--site_packages", required=True, help="folder that holds the libraries")
    parser.add_argument("--held_out", nargs="+", required=True, help="JSONL corpora that nothing may be shared with")
    parser.add_argument("--vocabulary", type=whole_number(300), default=2048, help="tokens, special ones included")
    parser.add_argument("--minutes", type=number(0, exclusive=True), default=60, help="how long to train")
    parser.add_argument("--batch_size", type=whole_number(1), default=16, help=f"windows of {CONTEXT} tokens a step")
    parser.add_argument(
        "--learning_rate",
        type=number(0, exclusive=True),
        default=0.025,
        help="of Muon; AdamW, for embeddings and norms, takes a third",
    )
    parser.add_argument("--seed", type=whole_number(0), default=0, help="draws first weights and batches")
    parser.add_argument("--output", default=str(HERE / "model"), help="folder for the model")
    return parser.parse_args(argv)


def main(argv=None):
    arguments = parse(argv)
    quiet_libraries()
    texts, counts = collect(Path(arguments.site_packages), arguments.held_out)
    print(", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items()), flush=True)
    tokenizer = train_tokenizer(texts, arguments.vocabulary)
    ids = token_stream(tokenizer, texts)
    held_out = token_stream(tokenizer, [row["text"] for path in arguments.held_out[:1] for row in read_jsonl(path)])
    print(f"{len(ids):,} tokens to train on, {len(ids) / counts['characters']:.3f} a character", flush=True)
    model, record = train(ids, held_out, tokenizer, arguments)
    save(model, tokenizer, arguments.output)
    write_json(
        Path(arguments.output) / "training.json",
        {**counts, "tokens": len(ids), **record, "libraries": versions(Path(arguments.site_packages))},
    )
    print(f"wrote {arguments.output}")
    return 0


def collect(site_packages, held_out):
    """Collect one text per library file: each paragraph once, and none that shares a phrase with the held-out corpora."""
    missing = [name for name in LIBRARIES if not (site_packages / name).is_dir()]
    if missing:
        raise UserError(f"--site_packages {site_packages} lacks {', '.join(missing)}; install them")
    forbidden = {shingle for path in held_out for row in read_jsonl(path) for shingle in shingles(row["text"])}
    texts, seen, counts = [], set(), {"paragraphs": 0, "repeated": 0, "shared_with_held_out": 0, "characters": 0}
    for library in LIBRARIES:
        for path in sorted((site_packages / library).rglob("*.py")):
            if TESTS & set(path.relative_to(site_packages).parts):
                continue
            kept = []
            for block in chain.from_iterable(map(paragraphs, docstrings_of(path))):
                counts["paragraphs"] += 1
                if block in seen:
                    counts["repeated"] += 1
                elif any(shingle in forbidden for shingle in shingles(block)):
                    counts["shared_with_held_out"] += 1
                else:
                    kept.append(block)
                seen.add(block)
            if kept:
                texts.append("\n\n".join(kept))
    counts["characters"] = sum(map(len, texts))
    return texts, counts


def read_jsonl(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def versions(site_packages):
    """Return {distribution: version} of everything that is installed with the libraries."""
    from importlib.metadata import distributions

    found = {name: item.version for item in distributions(path=[str(site_packages)]) for name in [item.metadata["Name"]]}
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))


def train_tokenizer(texts, vocabulary):
    """Train a byte-level BPE, so that no text is unknown. It puts <bos> before each text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    backend.train_from_iterator(texts, trainer)
    before = ("<bos>", SPECIAL.index("<bos>"))
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[before])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        model_max_length=SHAPE["max_position_embeddings"],
    )


def token_stream(tokenizer, texts):
    import torch

    texts = list(texts)
    random.Random(0).shuffle(texts)
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    separator = tokenizer.backend_tokenizer.encode("\n\n", add_special_tokens=False).ids
    return torch.tensor([token for encoding in encodings for token in (*encoding.ids, *separator)], dtype=torch.int32)


def new_model(tokenizer, seed):
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(seed)
    kinds = ["sliding_attention", "sliding_attention", "full_attention"]
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        **SHAPE,
        layer_types=kinds * (SHAPE["num_hidden_layers"] // 3),
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
    )
    return Gemma3ForCausalLM(config)


def train(ids, held_out, tokenizer, arguments):
    """Train on windows from random places: Muon on the matrices of the blocks, AdamW on the rest. Both rates decay to 0."""
    import torch

    model = new_model(tokenizer, arguments.seed)
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "layers" in name]
    others = [p for name, p in model.named_parameters() if not (p.ndim == 2 and "layers" in name)]
    optimizers = [
        torch.optim.Muon(matrices, lr=arguments.learning_rate, weight_decay=0.05),
        torch.optim.AdamW(others, lr=arguments.learning_rate / 3, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    draw = torch.Generator().manual_seed(arguments.seed)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    began, steps, recent = time.monotonic(), 0, math.nan
    with Progress("train", "tok") as progress:
        while (done := (time.monotonic() - began) / (60 * arguments.minutes)) < 1:
            scale = min(1, (steps + 1) / 50) * min(1, (1 - done) / 0.6)
            for optimizer, base in zip(optimizers, (1, 1 / 3), strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = arguments.learning_rate * base * scale
            loss = loss_on(model, windows(ids, arguments.batch_size, draw))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            steps += 1
            recent = loss.item() if math.isnan(recent) else 0.98 * recent + 0.02 * loss.item()
            progress.update(arguments.batch_size * CONTEXT, f"loss {recent:.3f}")
    with torch.inference_mode():
        fixed = torch.Generator().manual_seed(0)
        new = sum(loss_on(model, windows(held_out, 32, fixed)).item() for _ in range(20)) / 20
    print(f"{steps} steps, loss {recent:.3f} nats a token, on the held-out corpus {new:.3f}", flush=True)
    return model, {
        "steps": steps,
        "tokens_seen": steps * arguments.batch_size * CONTEXT,
        "loss": round(recent, 3),
        "loss_on_held_out": round(new, 3),
        "seed": arguments.seed,
        "learning_rate": arguments.learning_rate,
    }


def windows(ids, count, draw):
    """Draw windows from random places, each after <bos>: int64 [count, CONTEXT]."""
    import torch

    starts = torch.randint(len(ids) - CONTEXT, (count,), generator=draw)
    text = ids[starts[:, None] + torch.arange(CONTEXT - 1)].long()
    return torch.cat([torch.full((count, 1), SPECIAL.index("<bos>")), text], dim=1)


def loss_on(model, input_ids):
    return model(input_ids=input_ids, labels=input_ids, use_cache=False).loss


def save(model, tokenizer, folder):
    """Save as bfloat16 safetensors: half the size, and the precision in which such models usually run."""
    import torch

    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    run(main)
