"""`profilegym view`: runs, trajectories and branches in a browser, from a server that only this machine reaches."""
