"""Weights & Biases: one run a layer, offline without a login, and no prompt."""

import json
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from helpers import SCRIPTS, assert_one_line_error, assert_success, environment, run_script

pytestmark = pytest.mark.slow  # each trains in a process of its own


def test_without_a_login_every_layer_has_an_offline_run_and_nobody_is_asked(prepared, tmp_path):
    result = run_script(
        "train_probe",
        "--train_data",
        prepared / "train.pth",
        "--layer_sweep",
        "0,2",
        "--epochs",
        3,
        "--wandb_group",
        "group-of-two",
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        env={"WANDB_MODE": None, "WANDB_API_KEY": None, "HOME": str(tmp_path), "NETRC": str(tmp_path / "none")},
    )
    assert_success(result)
    lines = [line for line in result.stdout.splitlines() if "Weights & Biases" in line]
    assert result.stderr == "", "no warning, no prompt"
    assert len(lines) == 1 and "offline in wandb_logs" in lines[0] and "not logged in" in lines[0]
    runs = sorted((tmp_path / "wandb_logs" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(runs) == 2
    written = b"".join(path.read_bytes() for path in runs)
    for name in (
        b"group-of-two",
        b"layer0_next",
        b"layer2_next",
        b"val_balanced_accuracy",
        b"val_tp",
        b"test_auc",
        b"best_epoch",
    ):
        assert name in written, name


def test_a_file_in_the_place_of_the_folder_is_told_before_the_pass(prepared, tmp_path):
    (tmp_path / "wandb_logs").write_text("not a folder", encoding="utf-8")
    result = run_script(
        "train_probe", "--train_data", prepared / "train.pth", "--layer", "0", cwd=tmp_path, env={"WANDB_MODE": "offline"}
    )
    assert_one_line_error(result, "wandb_logs", "--no_wandb")
    assert "one pass" not in result.stdout


def test_a_server_that_refuses_the_key_costs_no_result(prepared, tmp_path):
    """Something answers at the address, but it is no Weights & Biases."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        result = run_script(
            "train_probe",
            "--train_data",
            prepared / "train.pth",
            "--layer",
            "0",
            cwd=tmp_path,
            env={
                "WANDB_MODE": None,
                "WANDB_API_KEY": "0" * 40,
                "HOME": str(tmp_path),
                "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}",
                "WANDB_INIT_TIMEOUT": "10",
            },
        )
        server.shutdown()
    assert_success(result)
    assert "going on offline" in result.stdout and (tmp_path / "models" / "probe_layer0_next.pth").exists()


class Failing(BaseHTTPRequestHandler):
    """Answers 500, or never; with `begins`, runs begin as they should, and nothing of them is taken."""

    hangs, begins = False, False

    def do_POST(self):
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = b""
        if self.begins and b"UpsertBucket" in asked:
            bucket = {"id": "1", "name": json.loads(asked)["variables"]["name"], "project": PROJECT}
            answer = json.dumps({"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}).encode()
        elif self.hangs:
            time.sleep(60)
        self.send_response(200 if answer else 500)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST

    def log_message(self, *_):
        pass


PROJECT = {"name": "p", "entity": {"name": "e"}}
TRACKED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from utils.base.tracking import tracker
tracking = tracker(True, "p", "logs")
started = time.monotonic()
runs = [tracking.start(name, "group", {}) for name in ("one", "two", "three")]
for run in runs:
    run.log({"score": 1.0})
    run.finish({"last": 2.0})
print(time.monotonic() - started)
"""


@pytest.mark.parametrize("hangs", [False, True], ids=["answers 500", "hangs"])
@pytest.mark.parametrize("begins, said", [(False, "going on offline in logs"), (True, "upload it later with: wandb sync")])
def test_a_server_that_fails_is_given_up_after_10_seconds_in_one_line(tmp_path, hangs, begins, said):
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Server", (Failing,), {"hangs": hangs, "begins": begins})) as server:
        server.daemon_threads, server.block_on_close, server.handle_error = True, False, lambda *_: None
        Thread(target=server.serve_forever, daemon=True).start()
        address = {"WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}", "WANDB_API_KEY": "0" * 40}
        ended = subprocess.run(
            [sys.executable, "-c", TRACKED, str(SCRIPTS)],
            env=environment({"WANDB_MODE": None, "HOME": str(tmp_path), **address}),
            cwd=tmp_path,
            text=True,
            capture_output=True,
            timeout=120,
        )
        server.shutdown()
    online, *lines, seconds = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "online" in online and len(lines) == 1 and said in lines[0]
    assert 8 < float(seconds) < 40, "one wait of 10 s, beside starting wandb"


def test_a_login_is_found_where_wandb_login_leaves_it(tmp_path, monkeypatch):
    from utils.base.tracking import reason_to_stay_offline

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert "not logged in" in reason_to_stay_offline()
    (tmp_path / "netrc").write_text("machine 127.0.0.1\n  login user\n  password " + "0" * 40 + "\n", encoding="utf-8")
    (tmp_path / "netrc").chmod(0o600)
    assert "no network" in reason_to_stay_offline()


def test_no_wandb_leaves_no_trace(prepared, tmp_path):
    result = run_script(
        "train_probe",
        "--train_data",
        prepared / "train.pth",
        "--layer",
        "0",
        "--no_wandb",
        cwd=tmp_path,
        env={"WANDB_MODE": None},
    )
    assert_success(result)
    assert not (tmp_path / "wandb_logs").exists() and "Weights" not in result.stdout
