"""What a host with two sockets and two NUMA nodes says of itself."""

from broker.drivers.hypervisor import NumaNode, capabilities

CORE = '<cpu id="{id}" socket_id="{socket}" die_id="0" core_id="{core}" siblings="{id}"/>'


def processors(socket: int) -> str:
    """Two cores with two threads each, as Linux numbers them: odd ones on the second socket."""
    return "".join(CORE.format(id=socket + 2 * number, socket=socket, core=number % 2) for number in range(4))


DOCUMENT = f"""
<capabilities>
  <host><cpu><arch>x86_64</arch><model>Skylake-Server-IBRS</model></cpu>
    <topology><cells num="2">
      <cell id="0"><memory unit="KiB">8388608</memory><cpus num="4">{processors(0)}</cpus></cell>
      <cell id="2"><memory unit="KiB">4194304</memory><cpus num="5">{processors(1)}<cpu id="9"/></cpus></cell>
    </cells></topology>
  </host>
  <guest><os_type>hvm</os_type><arch name="x86_64"><domain type="qemu"/><domain type="kvm"/></arch></guest>
</capabilities>
"""
NOTHING = "<capabilities><host/></capabilities>"


def test_processors_and_numa_nodes_are_read() -> None:
    assert capabilities.cpu_model(DOCUMENT) == "Skylake-Server-IBRS"
    assert capabilities.sockets_and_cores(DOCUMENT) == (2, 4), "one that is offline tells nothing"
    assert capabilities.numa_nodes(DOCUMENT) == (
        NumaNode(0, 8192, (0, 2, 4, 6)),
        NumaNode(2, 4096, (1, 3, 5, 7, 9)),
    )
    assert capabilities.kvm_offered(DOCUMENT)


def test_a_host_may_say_nothing() -> None:
    assert capabilities.cpu_model(NOTHING) == ""
    assert capabilities.sockets_and_cores(NOTHING) == (0, 0)
    assert capabilities.numa_nodes(NOTHING) == ()
    assert not capabilities.kvm_offered(NOTHING)
