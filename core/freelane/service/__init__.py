"""What Freelane does: each service guards, makes one provider call and records it."""
