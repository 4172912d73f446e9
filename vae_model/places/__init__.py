"""Where files and tables are: paths, names of tables, and the credentials that belong to neither."""
