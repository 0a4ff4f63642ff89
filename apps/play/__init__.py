"""`profilegym play`: a live game, on a terminal screen or in plain text."""
