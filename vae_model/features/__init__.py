"""Table columns to model matrix: which columns, of what kind, encoded how."""
