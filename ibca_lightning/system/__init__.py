"""What every other room stands on: errors, whole files and locks, processes, options, the terminal."""
