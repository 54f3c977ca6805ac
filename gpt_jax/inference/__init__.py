"""From a model's parameters to text: choosing tokens, and the loop around the cache."""
