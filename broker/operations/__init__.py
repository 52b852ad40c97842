"""What the broker can do: one public function is one use case, one transaction and its events."""
