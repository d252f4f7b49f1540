"""What every room stands on: errors, whole files and locks, processes, options, names of classes in files."""
