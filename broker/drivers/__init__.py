"""The outside world. Nothing below this line knows Django or our rows."""
