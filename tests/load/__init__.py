"""Programs that try to break the promises, and a checker that says whether they did.

    race     people, administrators and workers in real processes at the same time, on hosts that run nothing
    chaos    the whole demo with real guests, while its processes, its disk, its database and its clock fail

    record   what was promised and done, as plain values: rows, events, hosts, and what people were told
    checker  every promise that those values break, in sentences

Both programs print their seed first and their verdict last. `make race` and `make chaos` run them at length, the
tests here briefly, and these also plant each kind of fault to see that the checker names it.
"""
