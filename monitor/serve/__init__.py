"""Shows a home to browsers: the site, the history as SQL, health and metrics."""
