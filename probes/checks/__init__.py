"""The checks, a module for each rung and one for each kind of runtime that is asked otherwise."""
