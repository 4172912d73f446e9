"""Where the scored rows go, and what was written there."""
