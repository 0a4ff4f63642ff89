"""The pilot: a policy of a million weights, its lessons, its tokenizer and how it is made."""
