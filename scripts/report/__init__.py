"""One HTML page about a whole batch run: places -> status -> run (sums, labels) -> page."""
