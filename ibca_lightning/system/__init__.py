"""What every room stands on: errors, whole files and locks, processes, options, tables and pages for people."""
