"""Models of other frameworks as Relax modules."""
