"""Pictures: reading, masks, transforms, drawing."""
