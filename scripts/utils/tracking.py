"""Weights & Biases, or an object that does nothing. Never a login prompt: no login or no network means offline."""

import os
import socket
from urllib.parse import urlsplit


class NoTracking:
    """Stands in where nothing is logged, so that nobody has to ask."""

    def start(self, name, config):
        return self

    def log(self, values):
        pass

    def finish(self, summary):
        pass


class WandbRun:
    """One run of a group. Several are open at once, a layer each."""

    def __init__(self, project, group, mode, folder):
        self._options = {"project": project, "group": group, "mode": mode, "dir": folder, "reinit": "create_new"}
        self._run = None

    def start(self, name, config):
        import wandb

        run = WandbRun.__new__(WandbRun)
        run._options = self._options
        run._run = wandb.init(name=name, config=config, settings=wandb.Settings(silent=True, console="off"),
                              **self._options)
        return run

    def log(self, values):
        self._run.log(values)

    def finish(self, summary):
        self._run.summary.update(summary)
        self._run.finish()


def tracker(enabled, project, group, folder="wandb_logs"):
    """What starts runs; says in one line where they go."""
    mode = os.environ.get("WANDB_MODE", "").lower()
    if not enabled or mode == "disabled":
        return NoTracking()
    os.makedirs(folder, exist_ok=True)
    reason = "WANDB_MODE is offline" if mode == "offline" else reason_to_stay_offline()
    if reason:
        print(f"Weights & Biases: offline in {folder} ({reason}); upload later with: wandb sync {folder}/wandb/offline-*",
              flush=True)
    else:
        print(f"Weights & Biases: project {project}, group {group}", flush=True)
    return WandbRun(project, group, "offline" if reason else "online", folder)


def reason_to_stay_offline() -> str | None:
    import wandb

    address = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    if not (os.environ.get("WANDB_API_KEY") or wandb.api.api_key):
        return "not logged in: wandb login, or WANDB_API_KEY in .env"
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname, port), timeout=5).close()
    except OSError:
        return f"no network: {address.hostname} does not answer"
    return None
