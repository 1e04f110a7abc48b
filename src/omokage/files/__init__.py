"""From bytes to frames and arrays, and nothing else: files of rows opened, read and written; pictures."""
