#!/usr/bin/env python3
"""Measure how smooth the page of probes is, in Chromium: milliseconds of the browser's main thread for each change.

    python bench/page.py
    python bench/page.py --tokens 100000 --layers 6
    python bench/page.py --texts 200          # of probes that judge whole texts: a list
    python bench/page.py --against HEAD~1     # the page of another commit beside it, in turns

A page of random logits on random words is opened, and the layer, the threshold and the pointer are moved as a reader would.
All that the main thread does for a change counts: script, style, layout and paint. A display draws a frame every 16.7 ms.
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

CHANGES = 100
ROUNDS = 5  # turns of the pages, each with a fifth of the changes
CHANGE = """async ([selector, value]) => {
  const slider = document.querySelector(selector);
  slider.value = value;
  slider.dispatchEvent(new Event("input", {bubbles: true}));
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
HOVER = """async index => {
  document.querySelectorAll(".token")[index].dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
FIRST_VIEW = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() =>
  done([performance.now(), document.querySelectorAll(".token").length]))))"""
LONG_TASKS = """() => {
  window.longTasks = [];
  const watcher = new PerformanceObserver(list => window.longTasks.push(...list.getEntries().map(one => one.duration)));
  watcher.observe({type: "longtask"});
}"""


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4000)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--texts", type=int, default=0, help="whole texts that are judged (default: tokens are)")
    parser.add_argument("--against", metavar="COMMIT", help="measure the page that this commit writes as well")
    parser.add_argument("--chromium", default=os.environ.get("PROBE_CHROMIUM") or shutil.which("chromium"))
    arguments = parser.parse_args(argv)
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        trees = {"this page": ROOT} | (
            {arguments.against: checked_out(arguments.against, folder)} if arguments.against else {}
        )
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox", "--disable-gpu"])
        pages = {name: Opened(browser, tree, Path(folder), arguments) for name, tree in trees.items()}
        for turn in range(ROUNDS):
            for page in pages.values():
                page.move(turn)
        for name, page in pages.items():
            page.report(name)
        browser.close()
    return 0


def checked_out(commit, folder) -> Path:
    """Write the files of a commit into a folder of its own."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    place = Path(folder) / "other"
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(place, filter="data")
    return place


class Opened:
    """A page, written by the scripts of a tree and open in the browser."""

    def __init__(self, browser, tree, folder, arguments):
        place = Path(tempfile.mkdtemp(dir=folder))
        size = f"{arguments.tokens}, {arguments.layers}" + (f", {arguments.texts}" if arguments.texts else "")
        asked = f"from pathlib import Path; import page; page.make_page(Path({str(place)!r}), {size})"
        subprocess.run([sys.executable, "-c", asked], cwd=tree / "bench", check=True)
        path = place / "page.html"
        self.megabytes, self.layers = path.stat().st_size / 1e6, arguments.layers
        self.page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.page.goto(path.as_uri(), wait_until="commit")
        self.page.wait_for_load_state("load")
        self.first, self.built = self.page.evaluate(FIRST_VIEW)
        self.metrics = self.page.context.new_cdp_session(self.page)
        self.metrics.send("Performance.enable")
        self.page.evaluate(LONG_TASKS)
        self.took = {"a layer further": [], "the threshold moved": [], "another token hovered": []}

    def move(self, turn):
        """Take this page's turn."""
        self.page.bring_to_front()
        each = CHANGES // ROUNDS
        for step in range(turn * each, (turn + 1) * each):
            self.timed("a layer further", CHANGE, ["#layer", str(step % self.layers)])
            self.timed("the threshold moved", CHANGE, ["#threshold", f"{(step + 0.5) / CHANGES:.3f}"])
            if self.built:
                self.timed("another token hovered", HOVER, step * min(self.built, 700) // CHANGES)

    def timed(self, name, script, argument):
        before = self.busy()
        self.page.evaluate(script, argument)
        self.took[name].append(1e3 * (self.busy() - before))

    def busy(self) -> float:
        """Seconds that the main thread has worked."""
        found = self.metrics.send("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in found if one["name"] == "TaskDuration")

    def report(self, name):
        print(f"{name}: {self.megabytes:.2f} MB, first view after {self.first:.0f} ms")
        for what, found in self.took.items():
            if not found:
                continue
            ordered = sorted(found)
            print(
                f"  {what:<24} median {median(ordered):6.1f} ms, 95 % below {ordered[int(0.95 * len(ordered))]:6.1f} ms, "
                f"most {ordered[-1]:6.1f} ms"
            )
        self.page.wait_for_timeout(200)
        longest = max(self.page.evaluate("window.longTasks"), default=0)
        print(f"  longest task after loading: {f'{longest:.0f} ms' if longest else 'below 50 ms'}")


def make_page(folder, tokens, layers, texts=0):
    """Write a page of random logits on random words into a folder; texts: how many whole ones are judged, 0 for tokens."""
    import numpy as np

    from helpers import make_tokenizer, prose
    from shown_page import probe_set
    from utils.pages.html.page import write_page
    from utils.pages.probe_page import page_values
    from utils.pages.texts.shown import ShownText

    tokenizer = make_tokenizer(folder / "tokenizer")
    ids = np.array(tokenizer(prose(0, tokens), add_special_tokens=False)["input_ids"][:tokens])
    the = tokenizer.convert_tokens_to_ids("Ġthe")
    logits = 3 * np.random.default_rng(0).standard_normal((layers, tokens)).astype(np.float32)
    truth = (ids == the).astype(np.int8)
    shown = [
        ShownText("random", "", part, [""] * len(part), of_part[None])
        for part, of_part in zip(np.array_split(ids, texts or 1), np.array_split(truth, texts or 1), strict=True)
    ]
    probes = probe_set(range(layers), token=the)
    if texts:
        probes = probe_set(range(layers), token=None, lag=0, label_rule="whole", pool="mean")
        logits = np.concatenate([logits[:, :texts], logits], axis=1)
    values = page_values([probes], tokenizer, shown, [logits], 1024)
    write_page(folder / "page.html", "probes", **values)


if __name__ == "__main__":
    sys.exit(main())
