"""The report of a run: one page of HTML from records and a bounded number of rows, that needs nothing beside itself."""
