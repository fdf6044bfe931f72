"""Statistics over many people: aligned shapes, principal components, two groups, repeated measurements."""
