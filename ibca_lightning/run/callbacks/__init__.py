"""What happens beside training: pictures, predictions, the run folder."""
