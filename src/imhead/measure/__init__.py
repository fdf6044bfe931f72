"""Anthropometry: named landmarks on the template surface, and distances, angles and volumes between them."""
