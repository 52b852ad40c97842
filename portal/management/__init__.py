"""What administrators do to accounts from the shell."""
