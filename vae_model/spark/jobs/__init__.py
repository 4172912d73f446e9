"""The commands on a Spark session, a file for each."""
