"""The broker: rows, rules, operations and loops. Imports only point down.

    management   commands                                     who calls, by hand
    tasks        Celery entry points: load rows, one call     who calls, and when
    loops        what the broker does by itself               heals whatever a lost message missed
    operations   the verbs: one function, one transaction     what happens
    access config events live jobs leases measures patience   the ground
    rules        pure decisions, values in, an answer out     why
    models       rows, constraints, querysets                 what is
    states errors roles | drivers/                            words | the outside world

`lab/` is a whole data center on one machine, for the demo and the tests.
"""
