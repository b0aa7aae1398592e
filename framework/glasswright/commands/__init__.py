"""The commands: one file each, with its keys, how it is built and run, and what it prints."""
