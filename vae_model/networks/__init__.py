"""Networks: ``dense`` and ``elbo`` in torch for training, the others in NumPy for scoring."""
