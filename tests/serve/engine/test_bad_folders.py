"""Does an engine say in one line what is wrong with a model folder?"""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


def start(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cordee.serve.replica", "--model", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def changed(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(config))


def cut(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


BROKEN: dict[str, Callable[[Path], object]] = {
    "has no config.json": lambda f: (f / "config.json").unlink(),
    "cannot be read as JSON": lambda f: (f / "config.json").write_text("{"),
    "'bert'": lambda f: changed(f, model_type="bert"),
    "num_attention_heads": lambda f: changed(f, num_attention_heads="many"),
    "has no model.safetensors": lambda f: (f / "model.safetensors").unlink(),
    "cut off": cut,
    "is no safetensors file": lambda f: (f / "model.safetensors").write_bytes(b"x" * 4000),
    "has the shape": lambda f: changed(f, intermediate_size=256),
    "lack": lambda f: changed(f, num_hidden_layers=5),
    "has no tokenizer.json": lambda f: (f / "tokenizer.json").unlink(),
    "is no tokenizer": lambda f: (f / "tokenizer.json").write_text("{}"),
    "chat template is broken": lambda f: (f / "chat_template.jinja").write_text("{% if %}"),
}


@pytest.mark.parametrize("words", BROKEN)
def test_what_is_wrong_with_a_folder_is_said(
    model_folder: Path, tmp_path: Path, words: str
) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "model")
    BROKEN[words](folder)
    ended = start(folder)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_port_in_use_and_too_long_a_context_are_said(model_folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = start(model_folder, "--port", str(taken.getsockname()[1]))
    assert (ended.returncode, "in use" in ended.stderr) == (2, True)
    assert "1024" in start(model_folder, "--max-model-len", "5000").stderr
