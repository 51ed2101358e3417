"""Weights & Biases, or an object that does nothing. Never a login prompt: no login or no network means offline."""

import netrc
import os
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from utils.base.files import require_writable_folder
from utils.base.hub import reachable

Mode = Literal["online", "offline"]
PATIENCE_WITH_SERVER = 10.0  # seconds for a server to answer: it may hang, or fail and be asked again and again


class NoTracking:
    """Stands in where nothing is logged, so that nobody has to ask."""

    def start(self, name: str, group: str, config: Mapping[str, Any]) -> "NoTracking":
        return self

    def log(self, values: Mapping[str, Any]) -> None:
        pass

    def finish(self, summary: Mapping[str, Any]) -> None:
        pass


class Wandb:
    """Starts runs, several at once. What goes wrong over there is said once and costs no result, and 10 seconds at most."""

    def __init__(self, project: str, mode: Mode, folder: str) -> None:
        self._project, self.folder = project, folder
        self._mode: Mode = mode
        self.gave_up = False  # on a server that does not take what was logged

    def start(self, name: str, group: str, config: Mapping[str, Any]) -> "WandbRun | NoTracking":
        try:
            return WandbRun(self, self._init(name, group, config))
        except Exception as error:  # a revoked key, a server that answers nonsense: whatever it is, probes come first
            if self._mode == "offline":
                print(f"Weights & Biases: {first_line(error)}; nothing is logged", flush=True)
                return NoTracking()
            print(f"Weights & Biases: {first_line(error)}; going on offline in {self.folder}", flush=True)
            self._mode = "offline"
            return self.start(name, group, config)

    def _init(self, name, group, config):
        os.environ.setdefault("WANDB_SILENT", "true")  # what goes wrong is said here, in one line
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # wandb's reports of itself delay the end of a run
        import wandb

        return wandb.init(
            project=self._project,
            group=group,
            name=name,
            config=config,
            mode=self._mode,
            dir=self.folder,
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", finish_timeout_raises=True, **self._patience()),
        )

    def _patience(self) -> dict[str, Any]:
        """Give the settings of how long a server is waited for; what the environment says wins."""
        names = ("init_timeout", "finish_timeout")
        return {name: PATIENCE_WITH_SERVER for name in names if f"WANDB_{name.upper()}" not in os.environ}


class WandbRun:
    """One run of a group."""

    def __init__(self, server: Wandb, run: Any) -> None:
        self._server, self._run = server, run

    def log(self, values: Mapping[str, Any]) -> None:
        self._run.log(values)

    def finish(self, summary: Mapping[str, Any]) -> None:
        try:
            self._run.summary.update(summary)
            if not self._server.gave_up:  # else wandb tries once more for all of them, when the script ends
                self._run.finish()
        except TimeoutError:
            self._server.gave_up = True
            print(
                f"Weights & Biases: the server took too long; what it lacks is on disk, upload it later with: wandb sync "
                f"{self._server.folder}/wandb/run-*",
                flush=True,
            )
        except Exception as error:
            print(f"Weights & Biases: {first_line(error)}; this run may be incomplete", flush=True)


def tracker(enabled: bool, project: str, folder: str = "wandb_logs") -> NoTracking | Wandb:
    """What starts runs; says in one line where they go, and stops here where they could go nowhere."""
    mode = os.environ.get("WANDB_MODE", "").lower()
    if not enabled or mode == "disabled":
        return NoTracking()
    require_writable_folder(folder, "the folder of Weights & Biases (or use --no_wandb),")
    reason = "WANDB_MODE is offline" if mode == "offline" else reason_to_stay_offline()
    if reason:
        print(
            f"Weights & Biases: offline in {folder} ({reason}); upload later with: wandb sync {folder}/wandb/offline-*",
            flush=True,
        )
    else:
        print(f"Weights & Biases: online, project {project}", flush=True)
    return Wandb(project, "offline" if reason else "online", folder)


def reason_to_stay_offline() -> str | None:
    url = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    if not (os.environ.get("WANDB_API_KEY") or in_netrc(urlsplit(url).hostname)):
        return "not logged in: wandb login, or WANDB_API_KEY in .env"
    return None if reachable(url) else f"no network: {url} does not answer"


def in_netrc(host: str | None) -> bool:
    """Has `wandb login` left a key for this host? It keeps them in the user's netrc file."""
    paths = [os.environ["NETRC"]] if "NETRC" in os.environ else ["~/.netrc", "~/_netrc"]
    for path in paths:
        try:
            if host and netrc.netrc(os.path.expanduser(path)).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue  # no such file, or one that holds no key for us: not logged in
    return False


def first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
