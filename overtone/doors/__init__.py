"""Where requests come in: each door translates one protocol into our own nouns (service/) and back."""
