"""The checks, a module for each rung or two, and one for each kind of runtime that is asked otherwise."""
