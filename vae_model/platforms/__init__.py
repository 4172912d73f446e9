"""Adapters to other frameworks: one framework a file, thin, and imported by nothing else here."""
