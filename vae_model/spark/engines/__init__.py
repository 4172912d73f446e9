"""Where the Spark session comes from, and what can be known of it."""
