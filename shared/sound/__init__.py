"""From a file of sound to a waveform, through ffmpeg."""
