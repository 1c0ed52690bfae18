"""Watch: what is seen of a model that is live, and what follows from it."""
