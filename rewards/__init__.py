"""What an answer was worth."""
