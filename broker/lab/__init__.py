"""A whole data center on one machine: private daemons, a tiny guest, and the supervisor that runs them.

For the demo and the tests.
"""
