"""How things stand: `nightscribe status`."""
