"""One file a family; each has one method, `fit`."""
