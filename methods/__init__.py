"""Drag methods: one file and one settings file in `conf/method/` each."""
