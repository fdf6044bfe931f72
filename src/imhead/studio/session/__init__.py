"""A browser tab's session without its widgets: its thread, its surface, and the files it reads and writes."""
