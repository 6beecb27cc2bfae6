"""What is measured on edits and pictures once they are on disk: metrics, statistics, tables, and Table I."""
