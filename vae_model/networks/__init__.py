"""The dense VAE: ``dense`` and ``elbo`` in torch for training, ``forward`` in NumPy for scoring."""
