"""How fast it is: each budget of the design beside its own floor, both measured in the same run.

    takes        people who press *take* at once, over HTTP; double clicks; from the click to the connection file
    allocation   the core that matches a line with VMs, in one process; how it grows with line, pool and hosts
    storms       everybody returns, everybody arrives
    pages        lists and pages with much to show; queries of each operation
    watchers     browsers that watch one line
    consoles     desktops that are open in browsers: latency, and the processor time of each stream
    guests       real ones: a cold start, and the making of a pool, beside the raw libvirt calls

`make bench` runs all of it, `BENCH=small make bench` briefly. A floor is what the machine cannot go below for the
same work: a bare ASGI endpoint, the bare SQL statements, the bare libvirt calls.
"""
