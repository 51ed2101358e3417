"""Models, tokenizers and datasets by name or folder: the loading errors of their libraries, told in our words."""

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from utils.base.errors import UserError


@contextmanager
def loading(kind: str, name: str, flag: str) -> Iterator[None]:
    """Turn what goes wrong inside the block into a UserError that tells "no network" from "no such name".

    kind: what is loaded, for the message ("model", "tokenizer", "dataset", ...); flag: the flag that names it.
    """
    looks_local = name.startswith((".", "/", "~")) or os.path.exists(name)
    if looks_local and not os.path.exists(os.path.expanduser(name)):
        raise UserError(f"{flag} {name}: there is no such file or folder; check the path")
    if not looks_local and not hub_answers():
        os.environ["HF_HUB_OFFLINE"] = "1"  # else the libraries try for a minute before they look into their cache
    try:
        from transformers.utils import logging

        logging.disable_progress_bar()
        yield
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise UserError(f"{flag} {name}: {explain(error, kind, name, looks_local)}") from error


@dataclass(frozen=True)
class Adapter:
    """name: the folder or Hub name that holds it; kind: as peft calls it ("LORA"); base: of the model that it changes."""

    name: str
    kind: str
    base: str

    def __str__(self) -> str:
        return f"{self.kind} {'beside its model' if self.base == self.name else f'for {self.base}'}"


def find_adapter(name: str) -> Adapter | None:
    """Find the adapter that a folder or Hub name holds, beside a model or instead of one; None where there is none.

    To be called inside `loading`. Raises UserError where peft, which reads it, is not installed.
    """
    from transformers.utils.peft_utils import find_adapter_config_file

    path = find_adapter_config_file(name)
    if path is None:
        return None
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    config = config if isinstance(config, dict) else {}
    kind, base = str(config.get("peft_type")), config.get("base_model_name_or_path")
    if Path(name, "config.json").exists():
        base = name
    if not isinstance(base, str) or not base:
        raise UserError(
            f"--model_name {name}: it holds an adapter ({kind}) whose adapter_config.json names no base model; write its "
            "name there as base_model_name_or_path"
        )
    adapter = Adapter(name, kind, base)
    if find_spec("peft") is None:
        other = "delete adapter_config.json to read the model without it" if base == name else f"--model_name {base}"
        raise UserError(
            f"--model_name {name}: it holds an adapter ({adapter}), which the library peft reads: pip install peft "
            f"(without the adapter: {other})"
        )
    return adapter


def base_of(name: str) -> str:
    """The name of the model that holds configuration and weights: another one where `name` is an adapter alone.

    To be called inside `loading`.
    """
    adapter = find_adapter(name)
    return name if adapter is None else adapter.base


def place_of_tokenizer(name: str) -> str:
    """Where the tokenizer is: of an adapter without one, with its base. To be called inside `loading`."""
    from transformers.utils.hub import cached_file

    base = base_of(name)
    own = base == name or cached_file(name, "tokenizer_config.json", _raise_exceptions_for_missing_entries=False)
    return name if own else base


@cache
def hub_answers() -> bool:
    """Can the Hub be reached at all?"""
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return True  # the user's own choice, which the libraries respect
    return reachable(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))


def reachable(url: str) -> bool:
    """Does the host of this address answer? A proxy is taken at its word."""
    if any(
        os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy")
    ):
        return True
    address = urlsplit(url)
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname, port), timeout=5).close()
    except OSError:
        return False
    return True


def explain(error: BaseException, kind: str, name: str, looks_local: bool) -> str:
    chain = causes(error)
    names = {type(link).__name__ for link in chain}
    whole = "dataset" if kind == "dataset" else "model"  # what the user named; its tokenizer is a part of it
    if "GatedRepoError" in names or any("is a gated" in str(link) for link in chain):  # datasets drops the cause
        return f"this {whole} is gated: accept its licence on the Hub and set HF_TOKEN in .env"
    if names & {"RepositoryNotFoundError", "HFValidationError"} or ("DatasetNotFoundError" in names and not offline(chain)):
        return f"no such {whole} on the Hub (or it is private: set HF_TOKEN in .env), and no such folder here"
    if "RevisionNotFoundError" in names:
        return f"the {whole} is there, but not at the revision asked for"
    if any("custom code" in str(link) or "trust_remote_code" in str(link) for link in chain):
        return (
            f"the {whole} comes with Python code of its own, which runs only if it is asked for: read that code, and add "
            "--trust_remote_code if you trust it"
        )
    if not looks_local and offline(chain):
        why = "offline mode is set" if hub_answers() else "no network"
        return f"{why}, and the {whole} is not in the local cache; connect, or give the path of a folder that holds it"
    first = " ".join(str(error).split())[:300] or type(error).__name__
    if "SafetensorError" in names:
        return f"one of its .safetensors files is damaged or not complete ({first}); download it again"
    return f"cannot load the {kind}: {first}"


def causes(error: BaseException | None) -> list[BaseException]:
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def offline(chain: Sequence[BaseException]) -> bool:
    """Does the chain of causes end in a connection that could not be made?"""
    signs = {
        "OfflineModeIsEnabled",
        "LocalEntryNotFoundError",
        "ConnectError",
        "ConnectTimeout",
        "ReadTimeout",
        "ConnectionError",
        "MaxRetryError",
        "NewConnectionError",
        "gaierror",
        "ProxyError",
        "ReadError",
        "RemoteProtocolError",
        "ConnectionRefusedError",
        "TimeoutException",
    }
    return any(base.__name__ in signs for link in chain for base in type(link).__mro__)
