"""What stands below everything: errors, whole files and locks, processes, options of the command line."""
