"""The HTML report: one file about runs, finished or not, that needs no other file."""
