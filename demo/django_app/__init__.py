"""A legacy Django app of the kind that the gateway protects: form login, its own `sessionid`, and data by header."""
