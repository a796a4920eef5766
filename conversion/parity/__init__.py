"""Two models on the same batch: what each computes, and how far the two are apart."""
