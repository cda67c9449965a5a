"""The commands about a cluster, where nothing is on one."""

from support.command_line import refused, rotelab


def test_with_nothing_on_a_cluster(lab):
    assert rotelab("cluster", "status").out == "No run is on a cluster.\n"
    assert '"jobs": []' in rotelab("cluster", "status", "--json").out
    refused(rotelab("cluster", "cancel", "sweep-none"), "sweep-none")
    refused(rotelab("cluster", "log", "no-run"), "no-run")
