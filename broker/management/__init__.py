"""Commands that a person calls by hand."""
