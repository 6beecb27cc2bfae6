"""The report: one HTML file with tables, plots and a gallery of all edits, and the same tables as files."""
