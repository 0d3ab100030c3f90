"""Code that director and worker share: settings, destination, formats, queue, storage, audio, model and errors."""
