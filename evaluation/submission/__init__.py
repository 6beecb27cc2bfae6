"""Results that leave the disk they were made on: submitted as one file, verified by others, ranked on a page."""
