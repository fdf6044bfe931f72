"""The template's vertices on the scan itself."""
