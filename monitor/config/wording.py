"""Says what is wrong with a setting in plain words, from pydantic's kinds of errors, whose text is about its types."""

from __future__ import annotations

from typing import Any

# by the end of the key: what a text of the right form looks like
_FORMS = {
    "install.python": 'must be a version such as "3.11"',
    "sha256": "must be 64 hexadecimal digits",
    "releases.image": 'must be a name such as "ollama/ollama"',
    "site.branch": 'must be the name of a branch, such as "gh-pages"',
    "name": 'must consist of letters, digits, "-" and "_", 40 at most',
}
_KINDS = {
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "path_type": "must be a path",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "too_short": "needs at least one valid value",
    "missing": "is required",
    "model_type": "must be a table of keys",
    "dict_type": "must be a table of keys",
    "date_type": "must be a day, such as 2026-03-31",
    "date_parsing": "must be a day, such as 2026-03-31",
    "date_from_datetime_parsing": "must be a day, such as 2026-03-31",
    "date_from_datetime_inexact": "must be a day without a time, such as 2026-03-31",
}
_COMPARISONS = {
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be greater than or equal to {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be less than or equal to {le:g}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
}


def problem_of(key: str, details: dict[str, Any]) -> str:
    """Return the rest of the sentence that begins with the key."""
    kind, context = details["type"], details.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])  # a sentence of the settings
    if kind == "string_pattern_mismatch":
        return next((form for end, form in _FORMS.items() if key.endswith(end)), "has the wrong form")
    if kind in _COMPARISONS:
        return _COMPARISONS[kind].format(**context)
    return _KINDS.get(kind, "is not valid")
