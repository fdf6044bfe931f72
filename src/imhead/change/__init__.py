"""What changed between scans of one person, and whether it is more than the noise; asymmetry of one head."""
