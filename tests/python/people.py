"""Who the users of the apps with tokens are: a name each, an id, an organisation, and one password for all."""

PASSWORD = "demo"
# Name to id and organisation. Alice and Carol are of one.
PEOPLE = {"alice": (7, 42), "bob": (19, 77), "carol": (8, 42)}


def known(name, password):
    """The id and the organisation of somebody who may come in."""
    return PEOPLE[name] if name in PEOPLE and password == PASSWORD else None
