"""The pilot: a policy of a million weights, its training data, its tokenizer and its training."""
