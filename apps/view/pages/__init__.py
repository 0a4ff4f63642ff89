"""One page a module: what is asked for, and the values that its template takes."""
