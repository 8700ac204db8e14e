"""Tables and files that say how chips are linked."""

from pathlib import Path

import pytest

from cordee.core.errors import UsageError
from cordee.hw import chips, topologies, topology
from cordee.hw.topology import Topology, read, unnamed, usual

OWN = """
[[topology]]
name = "own"
title = "Two boxes on a desk"
chips_per_node = 4
source = "measured"

[[link]]
name = "PCIe"
kind = "port"
bytes_per_s = 16e9
latency_s = 1e-6
source = "measured"

[[link]]
name = "Ethernet"
kind = "nic"
per = "node"
bytes_per_s = 1.25e9
latency_s = 2e-5
source = "measured"
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize("known", topologies(), ids=lambda known: known.name)
def test_a_topology_of_the_tables_names_chips_that_there_are(known: Topology) -> None:
    assert set(known.chips) <= {chip.soc_name for chip in chips()}
    assert known.has_figures
    assert known.joins_nodes


@pytest.mark.parametrize("chip", chips(), ids=lambda chip: chip.soc_name)
def test_a_chip_is_usually_linked_in_one_way_at_most(chip) -> None:
    found = [known for known in topologies() if known.usual and known.fits(chip.soc_name)]
    assert found == ([usual(chip.soc_name)] if usual(chip.soc_name) else [])


def test_rates_of_the_atlas_800t_a2_add_up_to_what_the_vendor_states() -> None:
    mesh, nic = topology("atlas-800t-a2").links
    assert mesh.bytes_per_s
    assert nic.bytes_per_s
    assert 2 * 7 * mesh.bytes_per_s == 392e9
    assert nic.bytes_per_s * 8 == 200e9


def test_a_file_of_ones_own_is_read_like_a_table(own: Path) -> None:
    found = topology(str(own))
    assert (found.name, [link.name for link in found.links]) == ("own", ["PCIe", "Ethernet"])
    assert found.fits("Ascend310P3")


def test_a_name_that_is_neither_is_answered_with_what_there_is() -> None:
    with pytest.raises(UsageError, match="Did you mean atlas-800t-a2") as error:
        topology("atlas-800t-a22")
    assert "atlas-900-a3-superpod" in str(error.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"nowhere\.toml: No such file"):
        topology("nowhere.toml")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("latency_s = 1e-6", "latency = 1e-6"), "link 1 has .* latency"),
        (("chips_per_node = 4", "chips = 4"), "topology 1 has .* chips_per_node"),
        (("16e9", "-1"), "link 1: bytes_per_s = -1"),
        (("16e9", '"fast"'), "link 1: bytes_per_s = 'fast'"),
        (('kind = "port"', 'kind = "ring"'), "link 1: kind = 'ring': one of mesh, port"),
        (('per = "node"', 'per = "rack"'), "link 2: per = 'rack'"),
        (("[[link]]", "[[links]]"), r"links: such a file is made of \[\[topology\]\]"),
        (("[[topology]]", "[topology]"), r"topology must be written \[\[topology\]\]"),
        (('kind = "nic"', 'kind = "port"'), "more than one link of kind 'port'"),
        (("chips_per_node = 4", "chips_per_node = 0"), "chips_per_node = 0"),
        (('name = "own"', f'name = "{"x" * 32}"'), "1 to 31 characters"),
        (("= ", "= = "), "own.toml: "),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_place(own: Path, change, complaint) -> None:
    own.write_text(OWN.replace(*change))
    with pytest.raises(UsageError, match=complaint) as error:
        read(own)
    assert str(own) in str(error.value)


def test_links_that_no_table_knows_have_no_figures() -> None:
    assert not unnamed(8).has_figures
