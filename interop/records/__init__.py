"""What other frameworks record of episodes, one format a file: read for `profilegym import`."""
