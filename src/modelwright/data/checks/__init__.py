"""What is wrong with a table, one question a file."""
