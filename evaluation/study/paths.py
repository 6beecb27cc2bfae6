"""Where a study lies in a results folder."""

FOLDER = "study"
DATABASE_FILE = "study.sqlite3"
