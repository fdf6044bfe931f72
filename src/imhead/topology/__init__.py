"""Meshes of users that follow every head: their own vertices, polygons and UVs."""
