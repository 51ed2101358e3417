"""The Python of docs/sae.md runs as it is printed."""

import re

import torch

from helpers import ROOT
from some_autoencoder import some_autoencoder, some_states
from utils.sae.files.loading import load_sae
from utils.sae.files.sae_lens import save_sae

PAGE = (ROOT / "docs/sae.md").read_text(encoding="utf-8")


def test_an_autoencoder_is_written_for_other_tools(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")  # what the code adds is taken out again
    save_sae("saes/sae_layer_3_best", some_autoencoder())
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.split("## Files and other tools")[1].split("\n## ")[0], re.DOTALL)
    exec(compile(code, "docs/sae.md", "exec"), {})
    wanted = some_autoencoder().encode(some_states())
    for name in ("for_dictionary_learning", "for_sae_lens"):
        assert torch.allclose(load_sae(f"saes/{name}").encode(some_states()), wanted, rtol=1e-4, atol=1e-4)
