#!/usr/bin/env python3
"""Makes the pictures of the README and of docs/: pages in light and dark, and the report of a move.

`python tools/pictures.py MODEL_DIR`: serves the model in two pools of the CPU, asks, kills a replica, moves from one
pool to the other, and takes pictures with chromium (chromedriver must be there, as for the tests of pages).
`python tools/pictures.py`: trains the GPT of examples/elastic_gpt, kills workers, and takes pictures of that.
`python tools/pictures.py plan`: pages of plans, for docs/plan.md.
`python tools/pictures.py out/demo/report.html`: pictures of that page, for the README.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
FLEET = """
[gateway]
port = 0
[[pool]]
name = "nvidia"
model = "{model}"
replicas = 2
threads = 1
[[pool]]
name = "ascend"
model = "{model}"
replicas = 1
threads = 1
role = "shadow"
"""
QUALITY = 70
SAID = ".turn:last-child .said"


@contextmanager
def service(model: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fleet.toml"
        file.write_text(FLEET.format(model=model.resolve()))
        command = [sys.executable, "-m", "cordee", "serve", "--fleet", str(file)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            while not (found := re.search(r"listening on (\S+)/v1", process.stdout.readline())):
                pass
            while sum(r["state"] == "ready" for r in replicas(found[1])) < 3:
                time.sleep(0.1)
            yield found[1]
        finally:
            process.terminate()
            process.wait(30)


def replicas(url: str) -> list[dict[str, object]]:
    with urllib.request.urlopen(f"{url}/cordee/status") as reply:
        return [r for pool in json.load(reply)["pools"] for r in pool["replicas"]]


@contextmanager
def browser(scheme: str, height: int) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    made = Chrome(options, ChromeService(shutil.which("chromedriver") or ""))
    made.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    made.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 1200, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    yield made
    made.quit()


def save(made: Chrome, name: str) -> None:
    file = IMAGES / f"{name}.webp"
    taken = made.execute_cdp_cmd(
        "Page.captureScreenshot", {"format": "webp", "quality": QUALITY, "optimizeForSpeed": False}
    )
    file.write_bytes(base64.b64decode(taken["data"]))
    print(f"{file}: {file.stat().st_size // 1024} KiB")


def ask(made: Chrome, words: str) -> None:
    """An answer in the page's chat; the replica that makes it is killed."""
    tokens = made.find_element(By.ID, "tokens")
    tokens.clear()
    tokens.send_keys("340")
    made.find_element(By.ID, "prompt").send_keys(words, Keys.ENTER)
    send = made.find_element(By.ID, "send")
    spans = WebDriverWait(made, 60, 0.02).until(
        lambda b: (
            (said := b.find_elements(By.CSS_SELECTOR, f"{SAID} span"))
            and (len(said[0].text) > 60 or send.is_enabled())
            and said
        )
    )
    victim = spans[0].get_attribute("data-replica")
    made.find_element(By.CSS_SELECTOR, f'[aria-label="Kill {victim}"]').click()
    WebDriverWait(made, 120).until(lambda _: send.is_enabled())
    time.sleep(2)


def traffic(url: str, count: int) -> None:
    for number in range(count):
        message = {"role": "user", "content": f"question {number}"}
        body = {"messages": [message], "max_tokens": 12, "temperature": 0}
        urllib.request.urlopen(f"{url}/v1/chat/completions", json.dumps(body).encode()).read()


def move(url: str) -> None:
    command = [
        *(sys.executable, "-m", "cordee", "serve", "move", "--from", "nvidia", "--to", "ascend"),
        *("--url", url, "--samples", "12", "--shares", "0.25,1"),
        *("--ttft-factor", "100", "--tpot-factor", "100"),
    ]
    moving = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while moving.poll() is None:
        traffic(url, 5)


def training() -> None:
    """A job of which workers die, in light and dark."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "examples").symlink_to(ROOT / "examples")
        faults = [
            {"worker": 1, "step": 60, "at": "reduce"},
            {"worker": 2, "step": 140, "at": "forward", "do": "stop"},
            {"worker": 3, "step": 210, "at": "backward"},
        ]
        command = [sys.executable, "-m", "cordee", "train", "-n", "3", "--spares", "1"]
        program = ["examples/elastic_gpt/train.py", "--steps", "270", "--shards", "6"]
        subprocess.run(
            [*command, "--folder", "job", "--", *program],
            env=os.environ
            | {
                "CORDEE_TRAIN_FAULTS": json.dumps(faults),
                "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'examples' / 'nvidia_gpt'}",
                "OMP_NUM_THREADS": "1",
            },
            cwd=folder,
            check=True,
        )
        report = folder / "report.html"
        show = [sys.executable, "-m", "cordee", "train", "show", "job", "--output", str(report)]
        subprocess.run(show, cwd=folder, check=True)
        for scheme in ("light", "dark"):
            with browser(scheme, 1180) as made:
                made.get(report.as_uri())
                time.sleep(1)
                save(made, f"train-page-{scheme}")


def serving(model: Path) -> None:
    with service(model) as url:
        for scheme in ("light", "dark"):
            with browser(scheme, 900) as made:
                while len(made.find_elements(By.CSS_SELECTOR, f"{SAID} span")) < 2:
                    made.get(f"{url}/")  # anew: the model has no room for two answers
                    ask(made, "KING RICHARD II:")
                made.execute_script(  # type: ignore[no-untyped-call]
                    "arguments[0].scrollIntoView({block: 'center'}); scrollTo(0, 0)",
                    made.find_elements(By.CSS_SELECTOR, f"{SAID} span")[1],
                )
                save(made, f"serve-page-{scheme}")
        move(url)
        with browser("light", 1000) as made:
            made.get(f"{url}/cordee/move/report")
            save(made, "serve-move")


def planned() -> None:
    """Pages of plans, in light and dark, down to where time goes."""
    asked = {
        "train": ("Llama-3.1-8B", "--chip", "A100", "--chip", "910B3", "--chips", "64", "--tokens", "1T"),
        "serve": ("Qwen3-32B", "--chip", "H20", "--chip", "910B3", "--chips", "8"),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for what, words in asked.items():
            page = Path(folder) / f"{what}.html"
            command = [sys.executable, "-m", "cordee", "plan", what, *words, "--report", str(page)]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            for scheme in ("light", "dark"):
                with browser(scheme, 1650) as made:
                    made.get(page.as_uri())
                    save(made, f"plan-{what}-{scheme}")


def demo(page: Path) -> None:
    for scheme in ("light", "dark"):
        with browser(scheme, 900) as made:
            made.get(page.resolve().as_uri())
            height = made.execute_script("return document.documentElement.scrollHeight")  # type: ignore[no-untyped-call]
            metrics = {"width": 1200, "height": height, "deviceScaleFactor": 1, "mobile": False}
            made.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            save(made, f"demo-{scheme}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        training()
    elif sys.argv[1] == "plan":
        planned()
    elif sys.argv[1].endswith(".html"):
        demo(Path(sys.argv[1]))
    else:
        serving(Path(sys.argv[1]))
