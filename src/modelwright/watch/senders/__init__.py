"""Ways in which an alert reaches somebody, a module each."""
