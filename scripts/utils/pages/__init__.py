"""HTML pages from plain data: one self-contained file each, no request, every string escaped where it meets the page."""
