"""Decisions without side effects: values in, an answer or a sentence out. No queries, no clock, no I/O."""
