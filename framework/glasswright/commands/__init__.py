"""The commands: one file each, with its keys, how its request is built and run, and how its report is summarised."""
