"""The user study: people say which of several edits of a sample is best, and the answers are counted."""
