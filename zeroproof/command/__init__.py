"""The command ``zeroproof``: train on a table, predict for another."""
