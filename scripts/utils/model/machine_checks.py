"""Checks on the machine and the model's file: versions, the device, the weights that are read, the precision they run in."""

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from utils.base.checks import Check
from utils.base.files import ROOT

if TYPE_CHECKING:
    import torch

    from utils.model.language_model import LanguageModel

REQUIREMENTS = ROOT / "requirements.txt"
SHOWN = ("torch", "transformers")
DRIVER_FILE = Path("/proc/driver/nvidia/version")
NVIDIA_SMI_SECONDS = 30  # it is slow where the driver is not loaded


def check_versions() -> Check:
    """Every package of requirements.txt is there, and not older than it says."""
    wanted = re.findall(r"^([\w-]+)>=([\d.]+)", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)
    found = {name: installed(name) for name, _ in wanted}
    wrong = [
        f"{name} {found[name] or 'missing'} (at least {least})"
        for name, least in wanted
        if version_numbers(found[name] or "") < version_numbers(least)
    ]
    shown = ", ".join([f"Python {platform.python_version()}", *(f"{name} {found.get(name)}" for name in SHOWN)])
    return Check(
        "versions",
        not wrong,
        f"{shown}; of {len(wanted)} packages in requirements.txt "
        + (f"{len(wrong)} too old or missing: {', '.join(wrong)}" if wrong else "none is too old or missing"),
        "pip install -r requirements.txt",
    )


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def version_numbers(text: str) -> list[int]:
    """'2.6.0+cpu' -> [2, 6, 0]"""
    return [int(part) for part in re.match(r"\d*(?:\.\d+)*", text)[0].split(".") if part]


def check_device(asked: str) -> Check:
    """Can torch use what is there? asked: the value of --device. A GPU that lies idle fails, unless cpu was asked for."""
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return Check(
            "device",
            True,
            f"torch {torch.__version__} uses {torch.cuda.get_device_name()}, {free / 1e9:.1f} of "
            f"{total / 1e9:.1f} GB free; --device {asked}",
        )
    driver = driver_version()
    if driver is None:
        other = "mps" if torch.backends.mps.is_available() else "cpu"
        if asked.partition(":")[0] not in ("auto", "cpu", other):
            return Check(
                "device",
                False,
                f"no NVIDIA GPU here; torch {torch.__version__} can use {other}, not --device {asked}",
                f"use --device {other}",
            )
        return Check(
            "device",
            True,
            f"no NVIDIA GPU here; torch {torch.__version__} uses {other}, "
            f"{torch.get_num_threads()} threads; --device {asked}",
        )
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    detail = f"GPU present, torch cannot use it: driver {driver}, torch {torch.__version__} {built}"
    remedy = "install a torch built for a CUDA that this driver supports (pytorch.org), or use --device cpu"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and torch.version.cuda:
        detail += f"; CUDA_VISIBLE_DEVICES is {hidden!r}"
        remedy = f"unset CUDA_VISIBLE_DEVICES, or {remedy}"
    return Check("device", None if asked in ("cpu", "mps") else False, detail, remedy)


def driver_version() -> str | None:
    """The version of the NVIDIA driver, or None where there is none."""
    program = shutil.which("nvidia-smi")
    if program:
        try:
            answer = subprocess.run(
                [program, "--query-gpu=driver_version", "--format=csv,noheader"],
                text=True,
                capture_output=True,
                timeout=NVIDIA_SMI_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired):
            answer = None
        if answer and answer.returncode == 0 and answer.stdout.strip():
            return answer.stdout.split()[0]
    if DRIVER_FILE.exists():
        found = re.search(r"\d+\.\d+(\.\d+)?", DRIVER_FILE.read_text(encoding="utf-8", errors="replace"))
        return found[0] if found else "of unknown version"
    return None


def check_dtype(language_model: "LanguageModel", asked: str) -> Check:
    """The precision of the weights in their file, and the one they run in. asked: the value of --model_dtype."""
    import torch
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(language_model.source, trust_remote_code=language_model.trust_remote_code)
    saved = getattr(config.get_text_config(), "dtype", None)
    runs, device = language_model.dtype, language_model.device
    detail = (
        f"saved as {short(saved) if saved else 'not said in config.json'}, run as {short(runs)} on {device} "
        f"(--model_dtype {asked})"
    )
    if runs == torch.bfloat16 and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return Check("dtype", False, f"{detail}: this GPU only emulates bfloat16", "use --model_dtype float32 or float16")
    if runs == torch.float16 and saved is not None and saved != torch.float16:
        return Check("dtype", None, f"{detail}: float16 holds no number above 65504, see overflow below")
    return Check("dtype", True, detail)


def check_weights(language_model: "LanguageModel") -> Check:
    """Say which weights the pass reads; that all of them were in the file has been proved at loading."""
    from utils.model.checkpoint import listed

    detail = "every weight that the pass reads is in the file"
    if language_model.unused:
        detail += f"; it does not read {len(language_model.unused)} of the model ({listed(language_model.unused)})"
    return Check("weights", None if language_model.notes else True, "; ".join([detail, *language_model.notes]))


def short(dtype: "torch.dtype") -> str:
    return str(dtype).removeprefix("torch.")
