#!/usr/bin/env python3
"""Take training steps with SAELens: a worker that bench/sae.py starts in the library's environment.

It loads weights and batches from a file. It answers each JSON command, one a line on standard input, with one JSON line:

    {"architecture": "jumprelu", "batch": 0, "threads": 1}   ->   {"processor": .5, "wall": .5, "l0": 64.1, "loss": .31}

A step is the library's own `SAETrainer.step`: forward, backward, clipping, Adam, firing statistics. It neither projects
the decoder's gradient nor normalises its rows, so it does less than ours.
"""

import json
import os
import sys
import time
from importlib.metadata import version

import torch


def trainer_of(architecture, given):
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
    from sae_lens.saes.jumprelu_sae import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig
    from sae_lens.training.sae_trainer import SAETrainer

    latents, hidden_size = given["encoder"].shape
    shape = {"d_in": hidden_size, "d_sae": latents, "apply_b_dec_to_input": True, "device": "cpu"}
    if architecture == "jumprelu":
        target = given["target"]
        config = JumpReLUTrainingSAEConfig(
            **shape,
            jumprelu_bandwidth=given["width"],
            jumprelu_sparsity_loss_mode="quadratic",
            target_l0=target,
            l0_coefficient=given["pull"] / (2 * target),  # 2 / target * (L0 - target)^2 there
        )
        sae = JumpReLUTrainingSAE(config)
    else:
        sae = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**shape, k=given["target"]))
    with torch.no_grad():
        sae.W_enc.copy_(given["encoder"].T)
        sae.W_dec.copy_(given["decoder"])
        sae.b_enc.copy_(given["encoder_bias"])
        sae.b_dec.copy_(given["decoder_bias"])
        if architecture == "jumprelu":
            sae.threshold.copy_(given["threshold"])
    settings = SAETrainerConfig(
        n_checkpoints=0,
        checkpoint_path=None,
        save_final_checkpoint=False,
        total_training_samples=10**9,
        device="cpu",
        autocast=False,
        lr=given["learning_rate"],
        lr_end=given["learning_rate"] / 10,
        lr_scheduler_name="constant",
        lr_warm_up_steps=0,
        adam_beta1=0.9,
        adam_beta2=0.999,
        lr_decay_steps=0,
        n_restart_cycles=1,
        train_batch_size_samples=given["batches"].shape[1],
        dead_feature_window=1000,
        feature_sampling_window=2000,
        logger=LoggingConfig(log_to_wandb=False),
    )
    return SAETrainer(settings, sae, iter(given["batches"]))


def main() -> int:
    answers = os.fdopen(os.dup(1), "w")  # whatever the library prints must not be taken for an answer
    os.dup2(2, 1)
    given = torch.load(sys.argv[1], weights_only=True)
    trainers = {architecture: trainer_of(architecture, given) for architecture in ("jumprelu", "batchtopk")}

    def answer(value):
        print(json.dumps(value), file=answers, flush=True)

    answer({"version": version("sae-lens"), "torch": torch.__version__})
    for line in sys.stdin:
        command = json.loads(line)
        torch.set_num_threads(command["threads"])
        trainer, states = trainers[command["architecture"]], given["batches"][command["batch"]]
        start, started = time.perf_counter(), time.process_time()
        output = trainer.step(states)
        trainer.n_training_steps += 1
        spent = {"wall": time.perf_counter() - start, "processor": time.process_time() - started}
        l0 = float((output.feature_acts != 0).sum() / len(states))
        loss = output.losses["mse_loss"]
        answer(spent | {"l0": l0, "loss": float(loss)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
