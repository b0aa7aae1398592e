"""The interfaces of what plugins provide."""
