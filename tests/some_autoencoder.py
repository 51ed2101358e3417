"""A small sparse autoencoder of random weights, for tests of its files."""

import torch

from utils.sae.autoencoder import SparseAutoencoder

ABOUT = {
    "architecture": "batchtopk",
    "layer": 6,
    "target_l0": 8,
    "seed": 0,
    "model_name": "gpt2",
    "model_fingerprint": "0123456789abcdef",
    "hook_name": "blocks.6.hook_resid_post",
    "context_size": 128,
    "prepend_bos": True,
    "dataset": "wikipedia",
    "tokens": 1000,
    "left out": {"positions": [0], "share": 0.25, "why": None, "text": "\u00e9\u4e2d <b>"},
}


def some_autoencoder(latents=64, hidden_size=16, about=ABOUT, **changes):
    """Make it. changes: {name of a tensor: function of all tensors}, by which one is replaced."""
    draw = torch.Generator().manual_seed(0)
    values = {
        "encoder": torch.randn(latents, hidden_size, generator=draw),
        "encoder_bias": torch.randn(latents, generator=draw),
        "decoder": torch.randn(latents, hidden_size, generator=draw),
        "decoder_bias": torch.randn(hidden_size, generator=draw) + 3,
        "threshold": torch.rand(latents, generator=draw) * 20,
    }
    return SparseAutoencoder(**{**values, **{name: change(values) for name, change in changes.items()}}, about=about)


def some_states(rows=128, hidden_size=16):
    """States whose mean is far from 0, as those of language models are."""
    return torch.randn(rows, hidden_size, generator=torch.Generator().manual_seed(7)) * 2 + 3
