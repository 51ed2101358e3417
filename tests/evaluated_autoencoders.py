"""An evaluation of a sparse autoencoder with figures that were made up."""

import torch

from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.evaluation.reconstruction import Reconstruction
from utils.sae.evaluation.results import Evaluation
from utils.sae.evaluation.splicing import Cost

ABOUT = {"layer": 5, "architecture": "jumprelu", "target_l0": 60, "seed": 0}
COST = Cost(9_000, 9_100, 3.0, 3.2, 8.0, 7.0, 0.3, 5.5, 4.5)
FOUND = Reconstruction(
    tokens=120_000,
    l0=60.4,
    l0_deciles=(3, 30, 41, 48, 54, 60, 66, 72, 79, 90, 150),
    fvu=0.2,
    squared_error=0.004,
    cosine=0.9,
    shrinkage=0.01,
    norm_ratio=0.88,
    density=torch.tensor([0.5, 0.01, 0.0, *[0.003] * 17], dtype=torch.float64),
    pca_components=60,
    pca_fvu=0.4,
)


def evaluation(reconstruction=FOUND, cost=COST, why="", **about):
    zeros = torch.zeros(20)
    autoencoder = SparseAutoencoder(
        torch.zeros(20, 8), zeros, torch.zeros(20, 8), torch.zeros(8), zeros, about={**ABOUT, **about}
    )
    return Evaluation(autoencoder, reconstruction, cost, why)
