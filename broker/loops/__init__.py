"""What the broker does by itself, and heals whatever a lost message missed."""
