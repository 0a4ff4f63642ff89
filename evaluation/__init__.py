"""What runs were worth, and what the judge's word is worth."""
