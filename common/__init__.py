"""What every room may use: the one error a user can mend, files written whole, and the terminal."""
