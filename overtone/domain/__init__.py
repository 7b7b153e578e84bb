"""Our own nouns, between the doors and the store: small frozen dataclasses without protobuf, SQL or HTTP."""
