"""How the rows of a run differ from those that the model learnt from: column by column, and by their p-values."""
