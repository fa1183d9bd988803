"""The answer for people: what the histories say together, as values, then as sections of text and tables."""
