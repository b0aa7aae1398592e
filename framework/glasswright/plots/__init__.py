"""Figures of runs, packings and analyses."""
