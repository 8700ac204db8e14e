"""A fleet file says what is to run; a mistake in it is named with its file, place and key."""

from pathlib import Path

import pytest

from cordee.core.errors import UsageError
from cordee.serve.pool.config import read_fleet

POOL = '[[pool]]\nname = "a"\nmodel = "m"\n'


def written(folder: Path, text: str) -> Path:
    file = folder / "fleet.toml"
    file.write_text(text)
    return file


def test_paths_are_those_beside_the_file(tmp_path: Path) -> None:
    fleet = read_fleet(written(tmp_path, '[gateway]\nkeys = "keys.toml"\n' + POOL))
    assert fleet.gateway.keys == tmp_path / "keys.toml"
    assert fleet.pools[0].model == str(tmp_path / "m")


def test_engines_elsewhere_keep_the_name_they_know_their_model_by(tmp_path: Path) -> None:
    text = '[[pool]]\nname = "far"\nkind = "openai"\nmodel = "org/model"\nurls = ["http://far:1"]\n'
    pool = read_fleet(written(tmp_path, text)).pools[0]
    assert (pool.called, pool.urls) == ("org/model", ("http://far:1",))


def test_a_pool_on_virtual_chips_says_how_many_it_takes(tmp_path: Path) -> None:
    text = POOL + 'chip = "Ascend910B3"\nreplicas = 2\nchips_per_replica = 2\nspare_chips = 1\n'
    pool = read_fleet(written(tmp_path, text + "[pool.scaling]\nmax = 3\n")).pools[0]
    assert (pool.device, pool.chips) == ("ascend", 7)
    assert read_fleet(written(tmp_path, POOL)).pools[0].chips == 0


VLLM = POOL + 'kind = "vllm"\n'
ELSEWHERE = VLLM + 'urls = ["http://far:1"]\n'


@pytest.mark.parametrize(
    ("text", "has"),
    [
        (VLLM, True),
        (VLLM + "plugin = false\n", False),
        (VLLM + 'arguments = ["--speculative-config={}"]\n', False),
        (ELSEWHERE, False),
        (ELSEWHERE + "plugin = true\n", True),
        (POOL, False),
    ],
)
def test_a_vllm_that_is_started_here_has_our_plug_in(tmp_path: Path, text: str, has: bool) -> None:
    assert read_fleet(written(tmp_path, text)).pools[0].positional is has


def test_vllm_may_know_a_model_by_a_name_that_is_no_folder(tmp_path: Path) -> None:
    pool = read_fleet(written(tmp_path, VLLM.replace('"m"', '"org/model"'))).pools[0]
    assert (pool.model, pool.called) == ("org/model", "org/model")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("no [[pool]]",)),
        ("[[pool", ("no TOML",)),
        (POOL + 'modle = "x"\n', ("pool 1", "modle", "known:", "model")),
        ("[gateway]\nprot = 1\n" + POOL, ("[gateway]", "prot", "port")),
        (POOL + POOL, ("two pools", "a")),
        (POOL + 'replicas = "2"\n', ("replicas", "'2'", "int")),
        (POOL + "replicas = true\n", ("replicas", "True", "int")),
        (POOL + "share = 1.5\n", ("share", "1.5", "0 to 1")),
        (POOL + 'kind = "tgi"\n', ("kind", "tgi", "vllm")),
        (POOL + 'kind = "openai"\n', ("openai", "urls")),
        (POOL + 'python = "p"\n', ("python", "vllm")),
        (POOL + "plugin = true\n", ("plugin", "vllm")),
        (POOL + 'kind = "vllm"\nplugin = "yes"\n', ("plugin", "'yes'", "bool")),
        (POOL + 'kind = "vllm"\nurls = ["http://a:1"]\npython = "p"\n', ("python", "urls")),
        (POOL + 'device = "tpu"\n', ("device", "tpu", "ascend")),
        (POOL + "[pool.scaling]\nmin = 2\n", ("scaling", "min", "max")),
        (POOL + "[pool.scaling]\nmax = 2\nrequest = 3\n", ("scaling", "request", "known:")),
        (POOL + "replicas = 4\n[pool.scaling]\nmax = 2\n", ("replicas", "4", "from 1 to 2")),
        (POOL + '[pool.scaling]\nmax = 2\nurl = "u"\ncommand = ["c"]\n', ("command", "url")),
        (POOL + 'chip = "Ascend910B3"\ndevice = "cpu"\n', ("pool a", "chip", "ascend")),
        (
            POOL
            + 'chip = "Ascend910B3"\n[[pool]]\nname = "b"\nmodel = "m"\nchip = "Ascend310P3"\n',
            ("Ascend910B3, Ascend310P3", "one kind"),
        ),
        ('[[pool]]\nmodel = "m"\n', ("no name",)),
        ('[[pool]]\nname = "a"\n', ("no model",)),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    file = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        read_fleet(file)
    assert all(word in str(error.value) for word in (str(file), *words)), error.value


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml"):
        read_fleet(tmp_path / "none.toml")
