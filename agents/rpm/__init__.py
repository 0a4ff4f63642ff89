"""RPM: a model of each user in readable form, made by prompts alone, and answers that reason as the user does."""
