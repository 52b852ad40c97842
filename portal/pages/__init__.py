"""HTML. A GET shows, a POST makes one call of an operation and redirects; all works without JavaScript."""
