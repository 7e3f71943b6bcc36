"""The HTTP API as its callers see it: raw requests, and Metronome's official client."""
