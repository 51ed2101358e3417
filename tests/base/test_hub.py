"""What a model or a dataset that the Hub does not give is told as: no such name, gated, no network, offline mode."""

import http.server
import json
import socket
import subprocess
import sys
import threading
import time

import pytest

from helpers import SCRIPTS, assert_one_line_error, environment

# Runs prepare_data once for each list of arguments, in one process: importing the libraries takes longest.
RUN_ALL = """
import json, sys
sys.path.insert(0, sys.argv[1])
import prepare_data
from utils.base.cli.parser import run
for arguments in json.loads(sys.argv[2]):
    sys.argv[0] = "prepare_data.py"
    try:
        run(prepare_data.main, arguments)
    except SystemExit as ending:
        print(f"status {ending.code}", file=sys.stderr, flush=True)
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the Hub does for a name that it does not have, and for one behind a licence."""

    def do_GET(self):
        gated = "behind-a-licence" in self.path
        self.server.asked.append(self.path)
        self.send_response(403 if gated else 404)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("X-Error-Message", "Access is restricted." if gated else "Repository not found")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def hub():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def closed_port():
    """An address where nobody listens: bound and not listening, so that nobody else takes it meanwhile."""
    with socket.socket() as waiting:
        waiting.bind(("127.0.0.1", 0))
        yield waiting.getsockname()[1]


def prepare(tmp_path, port, runs, **changes):
    """The results of prepare_data with these arguments, with http://127.0.0.1:port for a Hub and an empty cache."""
    output = tmp_path / "data"
    runs = [[str(item) for item in (*run, "--output_dir", output)] for run in runs]
    proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"))
    fresh = {
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": None,
        "HF_TOKEN": None,
        "HF_HUB_CACHE": None,
        "HF_DATASETS_CACHE": None,
        "HF_DATASETS_OFFLINE": None,
        "TRANSFORMERS_OFFLINE": None,
        **proxies,
        **changes,
    }
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, str(SCRIPTS), json.dumps(runs)],
        cwd=tmp_path,
        text=True,
        env=environment(fresh),
        capture_output=True,
        timeout=120,
    )
    seconds = time.monotonic() - began
    results, lines = [], []
    for line in done.stderr.splitlines():
        if line.startswith("status "):
            results.append(subprocess.CompletedProcess(done.args, int(line.split()[1]), done.stdout, "\n".join(lines)))
            lines = []
        else:
            lines.append(line)
    assert len(results) == len(runs), f"{len(results)} of {len(runs)} runs ended:\n{done.stderr}"
    assert not list(output.glob("*")), "something was written"
    return results, seconds


@pytest.fixture
def runs(tiny_model, texts):
    """Arguments that ask the Hub for a model, and for a dataset."""
    return {
        "model": lambda name: ("--model_name", name, "--dataset", texts, "--context_length", 32),
        "dataset": lambda name: ("--model_name", tiny_model, "--dataset", name, "--context_length", 32),
    }


@pytest.mark.slow
def test_a_name_that_the_hub_does_not_have_is_told_apart_from_one_that_is_gated(hub, runs, tmp_path):
    names = ("nobody/typing-mistake", "nobody/behind-a-licence")
    asked = [runs[kind](name) for kind in ("model", "dataset") for name in names]
    (model, gated_model, dataset, gated_dataset), _ = prepare(tmp_path, hub.server_address[1], asked)
    assert_one_line_error(model, "--model_name nobody/typing-mistake", "no such model on the Hub", "HF_TOKEN")
    assert_one_line_error(
        gated_model, "--model_name nobody/behind-a-licence", "this model is gated", "accept its licence", "HF_TOKEN"
    )
    assert_one_line_error(dataset, "--dataset nobody/typing-mistake", "no such dataset on the Hub", "HF_TOKEN")
    assert_one_line_error(
        gated_dataset, "--dataset nobody/behind-a-licence", "this dataset is gated", "accept its licence", "HF_TOKEN"
    )
    for name in names:
        assert any(path.startswith(f"/{name}/") for path in hub.asked), "the Hub was never asked for the model"
        assert any(f"/datasets/{name}" in path for path in hub.asked), "the Hub was never asked for the dataset"


@pytest.mark.slow
def test_no_network_is_said_at_once_and_not_taken_for_a_wrong_name(closed_port, runs, tmp_path):
    (model, dataset, spaces, deep), seconds = prepare(
        tmp_path,
        closed_port,
        [
            runs["model"]("google/some-model"),
            runs["dataset"]("somebody/some-texts"),
            runs["model"]("some model!"),
            runs["model"]("a/b/c/d"),
        ],
    )
    assert_one_line_error(spaces, "--model_name some model!", "no such model")  # no network could make these a name
    assert_one_line_error(deep, "--model_name a/b/c/d", "no such model")
    for result, flag, kind in (
        (model, "--model_name google/some-model", "model"),
        (dataset, "--dataset somebody/some-texts", "dataset"),
    ):
        assert_one_line_error(result, f"{flag}: no network", f"the {kind} is not in the local cache", "path of a folder")
        assert "no such" not in result.stderr
    assert seconds < 45, f"{seconds:.0f} s: the libraries try for minutes where nobody tells them that there is no network"


@pytest.mark.slow
def test_offline_mode_is_named_as_the_reason_and_not_the_network(hub, runs, tmp_path):
    before = len(hub.asked)
    (model, dataset), _ = prepare(
        tmp_path,
        hub.server_address[1],
        [runs["model"]("google/some-model"), runs["dataset"]("somebody/some-texts")],
        HF_HUB_OFFLINE="1",
    )
    assert_one_line_error(model, "--model_name google/some-model: offline mode is set", "not in the local cache")
    assert_one_line_error(dataset, "--dataset somebody/some-texts: offline mode is set", "not in the local cache")
    assert len(hub.asked) == before, f"asked in offline mode: {hub.asked[before:]}"
