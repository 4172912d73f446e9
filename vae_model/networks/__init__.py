"""Networks: ``dense`` and ``elbo`` in torch for training; ``layout``, ``forward`` and ``codebook`` in NumPy for scoring."""
