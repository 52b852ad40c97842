"""The Administration Portal: one list, one details view, one form and one action view for every kind of object."""
