"""The config file: its keys and their checks, and how it is read."""
