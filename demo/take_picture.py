#!/usr/bin/env python3
"""Take the picture of the README: the demo's page as it opens in Chromium. Run `make demo` first."""

import argparse
import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--page", default="results/demo/visualization.html", help="the page")
    parser.add_argument(
        "--chromium", default=os.environ.get("PROBE_CHROMIUM") or shutil.which("chromium"), help="the browser's program"
    )
    parser.add_argument("--output", default=str(HERE / "page.png"), help="PNG file to write")
    arguments = parser.parse_args(argv)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(Path(arguments.page).resolve().as_uri())
        page.wait_for_selector("#text canvas")
        page.screenshot(path=arguments.output)
        browser.close()
    print(f"wrote {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
