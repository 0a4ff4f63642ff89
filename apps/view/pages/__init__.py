"""The pages: one module each, with its routes and the values of its template."""
