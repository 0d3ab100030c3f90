"""What people read: values turned into lines and live views."""
