"""Who decides: the models that write, and those who ask them."""
