"""Local features, one a file: a dataclass of settings whose `load` gives what describes pictures."""
