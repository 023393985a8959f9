"""REST, health, walls. Start: `port` takes it, `porch` answers at once, `server` runs `app`."""
