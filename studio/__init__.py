"""The studio: a page in the browser to annotate drags, and to watch methods make the edits."""
