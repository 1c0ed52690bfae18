"""Dataset to Fit: encoders, families, scores, the search within the budget."""
