"""Which links a transfer between two chips takes."""

import pytest

from cordee.core.errors import UsageError
from cordee.hw import Topology, Wiring, topology, wire
from cordee.hw.topology import LinkKind, unnamed


def way(wiring: Wiring, a: int, b: int) -> list[str]:
    return [wiring.links[number].name for number in wiring.paths[a, b]]


def of(*links: LinkKind, chips_per_node: int = 8) -> Topology:
    return Topology(
        name="own", title="", chips_per_node=chips_per_node, links=links, source="this test"
    )


def kind(name: str, kind: str, **more) -> LinkKind:
    return LinkKind(name=name, kind=kind, source="this test", **more)


def test_in_a_full_mesh_each_direction_of_each_pair_is_one_link() -> None:
    wiring = wire(topology("atlas-800t-a2"), 8)
    assert len(wiring.links) == 56
    assert way(wiring, 2, 5) == ["HCCS 2-5"]
    assert way(wiring, 5, 2) == ["HCCS 5-2"]


def test_between_nodes_a_transfer_takes_a_port_out_and_a_port_in() -> None:
    wiring = wire(topology("atlas-800t-a2"), 16, 2)
    assert wiring.nodes == (0,) * 8 + (1,) * 8
    assert way(wiring, 1, 9) == ["RoCE 1-network", "RoCE network-9"]
    assert way(wiring, 8, 9) == ["HCCS 8-9"]


def test_dies_of_a_package_have_a_link_of_their_own_and_the_rest_a_switch() -> None:
    wiring = wire(topology("atlas-900-a3-superpod"), 32, 2)
    assert way(wiring, 2, 3) == ["SIO 2-3"]
    assert way(wiring, 3, 4) == ["UB 3-switch", "UB switch-4"]
    assert way(wiring, 3, 20) == [
        "UB 3-switch",
        "UB-L2 node0-spine",
        "UB-L2 spine-node1",
        "UB switch-20",
    ]


def test_a_port_of_a_node_is_shared_by_its_chips() -> None:
    nodes = of(kind("mesh", "mesh"), kind("net", "nic", per="node"), kind("up", "uplink"))
    wiring = wire(nodes, 4, 2)
    assert way(wiring, 0, 2) == [
        "net node0-network",
        "up node0-spine",
        "up spine-node1",
        "net network-node1",
    ]
    assert wiring.paths[0, 2] == wiring.paths[1, 3]


def test_links_come_in_the_order_of_their_numbers() -> None:
    names = [link.name for link in wire(topology("atlas-900-a3-superpod"), 12).links]
    assert names.index("UB 2-switch") + 1 == names.index("UB 3-switch")
    assert names.index("UB 9-switch") + 1 == names.index("UB 10-switch")


@pytest.mark.parametrize("chips", [1, 2, 64])
@pytest.mark.parametrize("nodes", [1, 2])
def test_links_of_unknown_speed_join_any_chips(chips: int, nodes: int) -> None:
    if chips % nodes == 0:
        wiring = wire(unnamed(chips), chips, nodes)
        assert len(wiring.paths) == chips * (chips - 1)
        assert all(1 <= len(path) <= 2 for path in wiring.paths.values())


def test_chips_that_do_not_divide_over_the_nodes_are_refused() -> None:
    with pytest.raises(UsageError, match="9 chips do not divide over 2 nodes"):
        wire(topology("atlas-800t-a2"), 9, 2)


def test_more_chips_than_a_node_has_need_more_nodes() -> None:
    with pytest.raises(UsageError, match="a node has 8 chips, not 24: 24 chips need 3 nodes"):
        wire(topology("atlas-800t-a2"), 24)


def test_nodes_that_nothing_joins_are_refused() -> None:
    with pytest.raises(UsageError, match="no link leaves a node"):
        wire(of(kind("mesh", "mesh")), 4, 2)


def test_chips_that_nothing_joins_are_refused() -> None:
    with pytest.raises(UsageError, match="no link joins chips 0 and 2"):
        wire(of(kind("pairs", "mesh", within=2)), 4)
