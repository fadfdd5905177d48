"""What every room stands on: errors, sources of weights and data, runs on disk, scores, progress, discovery."""
