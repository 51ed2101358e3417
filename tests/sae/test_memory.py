"""Weights that memory cannot hold are refused before the pass, and the number that is said to fit does."""

import re
from types import SimpleNamespace

import psutil
import pytest
import torch

from utils.base.errors import UserError
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.training.memory import require_memory

CPU = torch.device("cpu")
FREE = 10**9


@pytest.fixture(autouse=True)
def free(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=FREE))


def test_as_many_fit_as_the_line_says_and_no_more():
    with pytest.raises(UserError, match="--d_hidden 1000000: .* of 2 autoencoders take 3.1 GB, 1.0 GB are free") as error:
        require_memory(10**6, 64, 2, CPU)
    most = int(re.search(r"at most ([\d,]+) latents fit", str(error.value))[1].replace(",", ""))
    require_memory(most, 64, 2, CPU)
    with pytest.raises(UserError):
        require_memory(most + 1, 64, 2, CPU)


def test_what_is_counted_is_what_the_weights_and_two_moments_take():
    latents, hidden_size = 100, 64
    rows, zeros = torch.zeros(latents, hidden_size), torch.zeros(latents)
    one = SparseAutoencoder(rows, zeros, rows, torch.zeros(hidden_size), zeros)
    size = 3 * sum(tensor.nbytes for name, tensor in one.tensors.items() if name != "decoder_bias")
    fitting = FREE // size
    require_memory(latents, hidden_size, fitting, CPU)
    with pytest.raises(UserError, match=f"of {fitting + 1:,} autoencoders"):
        require_memory(latents, hidden_size, fitting + 1, CPU)
