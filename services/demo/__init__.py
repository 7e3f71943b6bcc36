"""The walk-through of the README, driven by Metronome's official client. Never used by a stage."""
