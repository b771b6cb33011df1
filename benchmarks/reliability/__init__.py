"""`make reliability`: makes everything go wrong that can, and writes what came of it to docs/reliability.md.

Whole runs of the real supervisor with the newest DEEPaaS, most of them against a real S3 server. The same seeds, and so
the same faults, in every run. A new fault is a function from a Scene to Rows, and a line in __main__.GROUPS.
"""
