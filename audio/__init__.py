"""Audio features of tracks: where they come from, and where they are kept."""
