"""Latents of made-up states, at prose and at tokens that a page must show as text."""

import numpy as np
import torch

from helpers import make_tokenizer, prose
from utils.data.sequences import unlabelled_sequences
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.latents.examples import ExampleChoice
from utils.sae.latents.interpretations import interpret
from utils.sae.latents.study import LatentStudy
from utils.sae.latents.text_rows import TextRows
from utils.states.positions import ReadPlan

ATTACK = "</script><img src=x onerror=alert(1)>"
NASTY = [ATTACK, "<b>bold</b>", "&lt;", "שלום", "👩‍👩‍👧", "\n", "\u202e", "]]>", "<!--"]
LATENTS, SILENT = 4096, 40
OWN = {7: f"mine {ATTACK}", 4095: "zebra words"}


def interpreted(folder):
    """Latents of made-up states at prose and nasty tokens: all that is known of them."""
    tokenizer = make_tokenizer(folder / "tokenizer")
    tokenizer.add_tokens(NASTY)
    random = np.random.default_rng(0)
    ids = np.array(tokenizer(prose(3, 3000), add_special_tokens=False)["input_ids"])
    ids[random.random(len(ids)) < 0.05] = random.choice(tokenizer.convert_tokens_to_ids(NASTY))
    ids[:: len(ids) // 100] = random.choice(tokenizer.convert_tokens_to_ids(NASTY), len(ids[:: len(ids) // 100]))
    texts = np.array_split(ids, 60)
    sequences = unlabelled_sequences(texts, ([tokenizer.bos_token_id], []), documents=np.arange(60))
    sequences.metadata = {
        "tokenizer": {"before": [tokenizer.bos_token_id], "after": []},
        "documents": [f"text {number} {ATTACK}" for number in range(60)],
    }
    there = (np.arange(sequences.input_ids.shape[1]) >= 1) & (
        np.arange(sequences.input_ids.shape[1]) < sequences.lengths[:, None]
    )
    text = TextRows(sequences, ReadPlan(*np.nonzero(there), layers=(2,)))
    vectors = random.normal(size=(len(tokenizer), 16))
    states = torch.tensor(vectors[text.tokens] + 0.7 * random.normal(size=(len(text), 16)), dtype=torch.float32)
    rows = torch.nn.functional.normalize(torch.tensor(random.normal(size=(LATENTS, 16)), dtype=torch.float32), dim=1)
    threshold = (states @ rows.T).quantile(0.99, dim=0).clamp(min=0) * torch.linspace(0.9, 1.2, LATENTS)
    threshold[50 : 50 + SILENT] = 1e9
    sae = SparseAutoencoder(rows, torch.zeros(LATENTS), rows, torch.zeros(16), threshold)
    study = LatentStudy(sae, text, ExampleChoice(top=4, of_interval=1, before=8, after=4))
    study.add(0, states)
    promoted = [
        {"promoted": [[ATTACK, 3.5], [f" w{latent}", 2.0]], "suppressed": [[" not", -1.25]]} for latent in range(LATENTS)
    ]
    return interpret(2, study, tokenizer, promoted, OWN)
