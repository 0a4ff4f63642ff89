"""RPM: a readable model of each user, built by prompts, and answers that reason as the user does."""
