"""Packings and interactions in the formats of other programs."""
