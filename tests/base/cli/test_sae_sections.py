"""Configurations of sparse autoencoders, as they are published, become flags of train_sae.py."""

import pytest

from helpers import parser_of
from utils.base.errors import UsageError

PUBLISHED = """
sae:
  d_model: 768
  d_hidden: 4096
  threshold: 0.1
  lambda_sparse: 0.01

sae_training:
  epochs: 20
  batch_size: 256
  learning_rate: 0.0001
  weight_decay: 0.0
  gradient_clip: 1.0
  target_recon_loss: 0.01
  target_sparsity_min: 50
  target_sparsity_max: 100

track_association:
  semantic_weight: 0.6
"""


def parsed(tmp_path, text, *words):
    (tmp_path / "config.yaml").write_text(text)
    return parser_of("train_sae").parse_args(["--config", str(tmp_path / "config.yaml"), *words])


def test_the_published_configuration(tmp_path, capsys):
    found = parsed(tmp_path, PUBLISHED)
    assert (found.d_hidden, found.epochs, found.batch_size, found.learning_rate) == (4096, 20, 256, 1e-4)
    assert found.target_l0 == [75.0]
    said = capsys.readouterr().out
    assert "note: lambda_sparse of" in said and "line 6, has no meaning here: the number of active latents is set" in said
    assert "gradient_clip" not in said


def test_the_command_line_wins(tmp_path):
    assert parsed(tmp_path, PUBLISHED, "--target_l0", "8", "--epochs", "1").target_l0 == [8.0]


def test_a_file_with_a_section_of_the_script(tmp_path):
    assert parsed(tmp_path, "train_sae:\n  d_hidden: 5\nsae:\n  d_hidden: 6\n").d_hidden == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("weight_decay: 0.0", "weight_decay: 0.1"), "line 12, section sae_training: weight_decay is always 0.0 here"),
        (("d_hidden", "d_hiden"), "line 4: unknown key 'd_hiden'; did you mean 'd_hidden'?"),
        (("min: 50", "min: 500"), "line 15: target_sparsity_min 500 is above target_sparsity_max 100; swap them"),
        (("min: 50", "min: few"), "target_sparsity_min and target_sparsity_max are numbers of active latents"),
        (("epochs: 20", "d_hidden: 20"), "key 'd_hidden' stands in line 4 already; delete one"),
        (("epochs: 20", "epochs: many"), "'many' is not a whole number"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, change, said):
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        parsed(tmp_path, PUBLISHED.replace(*change))
